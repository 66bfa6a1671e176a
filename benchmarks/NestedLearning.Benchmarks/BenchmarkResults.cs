using System.Globalization;
using System.Reflection;
using System.Runtime.Intrinsics.X86;
using System.Runtime.InteropServices;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.RegularExpressions;
using BenchmarkDotNet.Running;
using NestedLearning.CommandLine.Bench;
using NestedLearning.CommandLine.Streaming;

namespace NestedLearning.Benchmarks;

/// <summary>A case's medians in milliseconds; null where a side has no such operation or did not run.</summary>
internal sealed record BenchmarkRow(string Name, string Title, int Threads, double Ours, double? Stock, double? Best, double ShareOfFloor);

/// <summary>Medians in milliseconds of a case on numbers that decay, or saturate, and of the same work on ordinary ones.</summary>
internal sealed record IdleRow(string Name, string Title, double Ordinary, double Idle);

/// <summary>One run on one machine.</summary>
internal sealed partial record BenchmarkResults
{
    private static readonly JsonSerializerOptions s_json = new()
    {
        WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping, PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
    };

    /// <summary>The machine's folder, such as amd-epyc-avx2-2c: the processor's name alone does not tell what it can do.</summary>
    public required string Name { get; init; }

    public required Machine Machine { get; init; }

    public required DateOnly Date { get; init; }

    public required IReadOnlyDictionary<string, string> Versions { get; init; }

    /// <summary>The backend and instruction set that ours ran on.</summary>
    public required string Device { get; init; }

    public required MachineLimits Limits { get; init; }

    /// <summary>Why there are no figures of stock libtorch; null where there are.</summary>
    public string? StockAbsence { get; init; }

    /// <summary>The same of libtorch at its best.</summary>
    public string? BestAbsence { get; init; }

    public required IReadOnlyList<BenchmarkRow> Rows { get; init; }

    /// <summary>Ours alone; empty where it was not measured.</summary>
    public IReadOnlyList<IdleRow> Idle { get; init; } = [];

    public static BenchmarkResults Create(
        string device, MachineLimits limits, string? stockAbsence, string? bestAbsence,
        Dictionary<string, double> ours, Dictionary<string, double> stock, Dictionary<string, double> best) => new()
        {
            Name = MachineName(),
            Machine = Machine.Current(),
            Date = DateOnly.FromDateTime(DateTime.UtcNow),
            Versions = new Dictionary<string, string>
            {
                ["NestedLearning"] = Version(typeof(Device), withCommit: true),
                ["TorchSharp"] = Version(typeof(TorchSharp.torch)),
                ["libtorch"] = stockAbsence is null ? TorchSharp.torch.__version__ : "none",
                ["BenchmarkDotNet"] = Version(typeof(BenchmarkRunner)),
            },
            Device = device,
            Limits = limits,
            StockAbsence = stockAbsence,
            BestAbsence = bestAbsence,
            Rows = [.. BenchCase.All.Where(c => ours.ContainsKey(c.Name)).Select(c =>
                new BenchmarkRow(c.Name, c.Title, Environment.ProcessorCount, ours[c.Name], Find(stock, c.Name), Find(best, c.Name),
                    limits.Floor(c) / ours[c.Name]))],
        };

    /// <summary>Every run that is kept, by machine.</summary>
    public static IEnumerable<BenchmarkResults> LoadAll(string folder) =>
        Directory.GetFiles(folder, "results.json", SearchOption.AllDirectories).Order(StringComparer.Ordinal)
            .Select(file => JsonSerializer.Deserialize<BenchmarkResults>(File.ReadAllText(file), s_json)!);

    /// <summary>Writes results.json and results.md into the machine's folder, and returns it.</summary>
    public string Save(string folder)
    {
        string own = Directory.CreateDirectory(Path.Combine(folder, Name)).FullName;
        SafeFile.WriteText(Path.Combine(own, "results.json"), JsonSerializer.Serialize(this, s_json) + "\n");
        SafeFile.WriteText(Path.Combine(own, "results.md"), ResultTable.Markdown(this));
        return own;
    }

    /// <summary>The folder of the results of this machine.</summary>
    public static string MachineName()
    {
        var machine = Machine.Current();
        string set = Avx512F.IsSupported ? "avx512" : Avx2.IsSupported ? "avx2" : RuntimeInformation.ProcessArchitecture.ToString();
        return NotInNames().Replace(string.Create(CultureInfo.InvariantCulture, $"{machine.Processor} {set} {machine.Cores}c")
            .ToLowerInvariant(), "-");
    }

    private static string Version(Type type, bool withCommit = false)
    {
        string[] parts = type.Assembly.GetCustomAttribute<AssemblyInformationalVersionAttribute>()!.InformationalVersion.Split('+');
        return withCommit && parts.Length > 1 ? $"{parts[0]} ({parts[1][..7]})" : parts[0];
    }

    private static double? Find(Dictionary<string, double> medians, string name) =>
        medians.TryGetValue(name, out double median) ? median : null;

    [GeneratedRegex("[^a-z0-9]+")]
    private static partial Regex NotInNames();
}
