using System.Globalization;

namespace NestedLearning.CommandLine.Streaming;

/// <summary>
/// A run on disk: the learners, their measurements, and the settings that decide the result. The file is replaced as
/// a whole or not at all.
/// </summary>
internal static class StreamCheckpoint
{
    private const string Prefix = "stream.";
    private const int LongestShown = 100;
    private const string SecondsName = "run.seconds";

    /// <summary>Everything that must be the same for a run to go on where another stopped, by what the user calls it.</summary>
    public static IReadOnlyList<(string Name, string Value)> Identity(PhasePlan plan, ILearnerFactory factory,
        IReadOnlyList<LearnerKind> kinds)
    {
        var identity = new List<(string, string)>
        {
            ("format", "1"),
            ("device", factory.DeviceName),
            ("seed", factory.Seed.ToString(CultureInfo.InvariantCulture)),
            ("learners", string.Join(',', kinds.Select(k => k.Id()))),
            ("configuration", factory.Configuration),
            ("number of phases", plan.Phases.Count.ToString(CultureInfo.InvariantCulture)),
        };
        foreach (Phase phase in plan.Phases)
            identity.Add(($"text of phase {phase.Index + 1}",
                $"{phase.Text.Length} bytes and {phase.HeldOut.Length} held out, sha256 {phase.Sha256[..16]}"));
        return identity;
    }

    /// <summary>Writes the run beside the path and renames it over the path.</summary>
    /// <exception cref="StreamException">The file cannot be written; what was there is as it was.</exception>
    /// <exception cref="DivergenceException">A learner is not fit to be kept; what was there is as it was.</exception>
    public static void Save(string path, IReadOnlyList<(string Name, string Value)> identity, double seconds,
        IEnumerable<LearnerTrack> tracks)
    {
        var file = new SafetensorsFile();
        foreach ((string name, string value) in identity)
            file.Metadata[Prefix + name] = value;
        file.Add(SecondsName, [BitConverter.DoubleToInt64Bits(seconds)]);
        foreach (LearnerTrack track in tracks)
            track.Save(file);
        try
        {
            if (Path.GetDirectoryName(Path.GetFullPath(path)) is { } folder)
                Directory.CreateDirectory(folder);
            file.Save(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StreamException($"The checkpoint '{path}' cannot be written: {e.Message}", e);
        }
    }

    /// <summary>How long the run had been running.</summary>
    /// <exception cref="CheckpointException">The checkpoint does not say.</exception>
    public static double Seconds(SafetensorsFile file) => BitConverter.Int64BitsToDouble(file.Integers(SecondsName, 1)[0]);

    /// <summary>Reads a run and checks that it is one of these settings and texts.</summary>
    /// <exception cref="StreamException">There is no checkpoint, it cannot be read, or it is of another run.</exception>
    public static SafetensorsFile Open(string path, IReadOnlyList<(string Name, string Value)> identity)
    {
        if (!File.Exists(path))
            throw new StreamException($"There is no checkpoint '{path}' to resume from.");
        SafetensorsFile file;
        try
        {
            file = SafetensorsFile.Load(path, requireChecksum: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or CheckpointException)
        {
            throw new StreamException($"The checkpoint '{path}' cannot be read: {e.Message}", e);
        }

        foreach ((string name, string value) in identity)
        {
            if (!file.Metadata.TryGetValue(Prefix + name, out string? saved))
                throw new StreamException($"'{path}' is not a checkpoint of nl stream: it has no '{Prefix}{name}'.");
            if (saved == value)
                continue;
            string difference = Math.Max(saved.Length, value.Length) > LongestShown ? "not this run's" : $"{saved}, this run's is {value}";
            throw new StreamException($"The checkpoint '{path}' is of another run: its {name} is {difference}.");
        }

        return file;
    }
}
