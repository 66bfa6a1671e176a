using System.Globalization;
using System.Text;

namespace NestedLearning.Benchmarks;

/// <summary>Results as text.</summary>
internal static class ResultTable
{
    private const string Begin = "<!-- benchmarks: made by ./build.sh bench --table -->", End = "<!-- end of benchmarks -->";

    public static string Markdown(BenchmarkResults results)
    {
        var text = new StringBuilder();
        text.Append(CultureInfo.InvariantCulture, $"{results.Machine.Processor}, {results.Machine.Cores} threads ({results.Device}): ");
        text.Append(CultureInfo.InvariantCulture,
            $"{results.Limits.Gflops:F0} GFLOP/s, {results.Limits.GigabytesPerSecond:F0} GB/s over seven streams. ");
        text.Append(CultureInfo.InvariantCulture,
            $"{string.Join(", ", results.Versions.Select(v => $"{v.Key} {v.Value}"))}, {results.Machine.Runtime}. Medians of three " +
            $"rounds in ms, float32.\n\n");
        text.Append("| work | stock libtorch | best libtorch | ours | of the floor |\n| --- | ---: | ---: | ---: | ---: |\n");
        foreach (BenchmarkRow row in results.Rows)
            text.Append(CultureInfo.InvariantCulture,
                $"| {row.Title} (`{row.Name}`) | {Milliseconds(row.Stock)} | {Milliseconds(row.Best)} | {Milliseconds(row.Ours)} | " +
                $"{row.ShareOfFloor * 100:F0} % |\n");
        if (results.Idle.Count > 0)
        {
            text.Append("\n| what decays or saturates, ours | ordinary numbers | such numbers | ratio |\n| --- | ---: | ---: | ---: |\n");
            foreach (IdleRow row in results.Idle)
                text.Append(CultureInfo.InvariantCulture,
                    $"| {row.Title} (`{row.Name}`) | {Milliseconds(row.Ordinary)} | {Milliseconds(row.Idle)} | " +
                        $"{row.Idle / row.Ordinary:F2} |\n");
        }

        if (results.StockAbsence is not null)
            text.Append(CultureInfo.InvariantCulture, $"\nWithout libtorch: {results.StockAbsence}\n");
        else if (results.BestAbsence is not null)
            text.Append(CultureInfo.InvariantCulture, $"\nWithout the best of libtorch: {results.BestAbsence}.\n");
        return text.ToString();
    }

    /// <summary>Puts the tables of all machines between the README's markers.</summary>
    public static void WriteReadme(string readme, string results)
    {
        string text = File.ReadAllText(readme);
        int begin = text.IndexOf(Begin, StringComparison.Ordinal), end = text.IndexOf(End, StringComparison.Ordinal);
        if (begin < 0 || end < begin)
            throw new InvalidOperationException($"{readme} lacks the lines '{Begin}' and '{End}'.");
        string tables = string.Join('\n', BenchmarkResults.LoadAll(results).Select(Markdown));
        SafeFile.WriteText(readme, $"{text[..(begin + Begin.Length)]}\n\n{tables}\n{text[end..]}");
    }

    // Three digits, but none after the point of a thousand.
    private static string Milliseconds(double? value) => value switch
    {
        null => "–",
        < 0.1 => value.Value.ToString("F4", CultureInfo.InvariantCulture),
        < 10 => value.Value.ToString("F2", CultureInfo.InvariantCulture),
        < 100 => value.Value.ToString("F1", CultureInfo.InvariantCulture),
        _ => value.Value.ToString("F0", CultureInfo.InvariantCulture),
    };
}
