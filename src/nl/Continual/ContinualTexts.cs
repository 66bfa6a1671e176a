using System.Security.Cryptography;
using NestedLearning.CommandLine.Streaming;
using NestedLearning.Models.Continual;

namespace NestedLearning.CommandLine.Continual;

/// <summary>The texts of a benchmark.</summary>
/// <param name="Domains">By name.</param>
/// <param name="Order">The domain of each phase, unless the command line says otherwise.</param>
/// <param name="Sha256">Over all texts.</param>
internal sealed record ContinualTexts(IReadOnlyList<StreamDomain> Domains, IReadOnlyList<string> Order, string Sha256)
{
    public const string DataVariable = "NESTED_LEARNING_DATA";

    private static readonly (string Name, string File, string Source)[] s_languages =
    [
        ("en", "tinyshakespeare.txt", "data/tinyshakespeare/input.txt of github.com/karpathy/char-rnn"),
        ("de", "de_fontane_vor_dem_sturm.txt.gz", "the text of level1/DEU035.xml of github.com/COST-ELTeC/ELTeC-deu"),
        ("fr", "fr_proust_swann.txt.gz", "plain1/FRA03601_Proust.txt of github.com/COST-ELTeC/ELTeC-fra"),
        ("ja", "ja_soseki_neko.txt.gz",
            "cards/000148/files/789_ruby_5639/789_ruby_5639.txt of github.com/aozorahack/aozorabunko_text, as UTF-8"),
    ];

    /// <summary>The benchmarks with what they are.</summary>
    public static IReadOnlyList<(string Name, string Title)> Benchmarks { get; } =
    [
        ("languages", "English, German, French, Japanese, and English again"),
        ("prose", "prose, source code, and prose again; needs no data"),
    ];

    /// <summary>Reads what a run needs.</summary>
    /// <exception cref="StreamException">A benchmark, a domain or a text is not there; the message says where it may be had.</exception>
    public static ContinualTexts Read(ContinualSettings settings) => settings.Benchmark switch
    {
        "languages" => Languages(settings),
        "prose" => Prose(settings),
        _ => throw new StreamException($"There is no benchmark '{settings.Benchmark}'; known are " +
            $"{string.Join(", ", Benchmarks.Select(b => b.Name))}."),
    };

    private static ContinualTexts Languages(ContinualSettings settings)
    {
        IReadOnlyList<string> order = settings.Order ?? ["en", "de", "fr", "ja", "en"];
        RequireKnown(order, [.. s_languages.Select(l => l.Name)]);
        var needed = s_languages.Where(l => order.Contains(l.Name)).ToArray();
        string folder = Folder(settings.Data, [.. needed.Select(l => l.File)])
            ?? throw new StreamException($"The texts of 'languages' are not here. Expected in a folder given by --data or " +
                $"{DataVariable}: {string.Join("; ", needed.Select(l => $"{l.File} ({l.Source})"))}; any text in UTF-8 under that name " +
                "does, plain or by gzip.");
        return New([.. needed.Select(l => new StreamDomain(l.Name, Text(Path.Combine(folder, l.File))))], order);
    }

    private static ContinualTexts Prose(ContinualSettings settings)
    {
        IReadOnlyList<string> order = settings.Order ?? ["prose", "code", "prose"];
        RequireKnown(order, ["prose", "code"]);
        // Half as much again, so that seeds begin at different places.
        int most = order.Max(d => order.Count(o => o == d));
        long bytes = (most * (long)settings.PhaseBytes + PhaseStream.WarmBytes + settings.HeldOutBytes) * 3 / 2;
        IReadOnlyList<PhaseText> texts = TextSources.Default((int)Math.Min(bytes, StreamSettings.MostBytes));
        return New([new StreamDomain("prose", (byte[])[.. texts[0].Bytes, .. texts[2].Bytes]), new StreamDomain("code", texts[1].Bytes)],
            order);
    }

    private static ContinualTexts New(IReadOnlyList<StreamDomain> domains, IReadOnlyList<string> order)
    {
        using var hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        foreach (StreamDomain domain in domains)
            hash.AppendData(domain.Text.Span);
        return new ContinualTexts(domains, order, Convert.ToHexStringLower(hash.GetHashAndReset()));
    }

    private static void RequireKnown(IReadOnlyList<string> order, string[] names)
    {
        foreach (string name in order)
        {
            if (!names.Contains(name))
                throw new StreamException($"--order has '{name}', expected names among {string.Join(", ", names)}.");
        }
    }

    // What was given, or the first folder with all of the files.
    private static string? Folder(string? given, string[] files)
    {
        if (given is not null)
        {
            string? missing = files.FirstOrDefault(f => !File.Exists(Path.Combine(given, f)));
            return missing is null ? given : null;
        }

        var folders = new List<string>();
        if (Environment.GetEnvironmentVariable(DataVariable) is { Length: > 0 } variable)
            folders.Add(variable);
        foreach (string start in (string[])[Environment.CurrentDirectory, AppContext.BaseDirectory])
        {
            for (string? folder = start; folder is not null; folder = Path.GetDirectoryName(folder))
                folders.AddRange([Path.Combine(folder, "data"), Path.Combine(folder, "shared", "data")]);
        }

        return folders.FirstOrDefault(folder => files.All(f => File.Exists(Path.Combine(folder, f))));
    }

    private static byte[] Text(string path)
    {
        try
        {
            (byte[] text, string? reason) = TextFile.Read(path, StreamSettings.MostBytes);
            return reason is null ? text : throw new StreamException($"'{path}' is not text: {reason}.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            throw new StreamException($"'{path}' cannot be read: {e.Message}", e);
        }
    }
}
