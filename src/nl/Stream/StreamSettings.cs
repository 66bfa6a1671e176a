namespace NestedLearning.CommandLine.Streaming;

/// <summary>What the user asked for.</summary>
internal sealed record StreamSettings
{
    /// <summary>Default of <see cref="Bytes"/>.</summary>
    public const int DefaultBytes = 262_144;

    /// <summary>The largest <see cref="Bytes"/>.</summary>
    public const int MostBytes = 500_000_000;

    /// <summary>A file or folder for each phase; empty for the default text.</summary>
    public IReadOnlyList<string> Paths { get; init; } = [];

    /// <summary>The most bytes of a phase.</summary>
    public int Bytes { get; init; } = DefaultBytes;

    public ulong Seed { get; init; } = 1;

    public IReadOnlyList<LearnerKind> Learners { get; init; } = LearnerKinds.All;

    /// <summary>The folder for what a run leaves behind.</summary>
    public string Out { get; init; } = "nl-stream";

    public string Checkpoint { get; init; } = Path.Combine("nl-stream", "stream.safetensors");

    /// <summary>Save also each time so many bytes of the stream are read; 0 for only at the end and on interruption.</summary>
    public long CheckpointEvery { get; init; }

    public bool Resume { get; init; }

    /// <summary>Tables only, no progress.</summary>
    public bool Quiet { get; init; }

    public void Validate()
    {
        if (Bytes is < PhasePlan.LeastText or > MostBytes)
            throw new StreamException($"--bytes is {Bytes}, expected {PhasePlan.LeastText} to {MostBytes}.");
        if (CheckpointEvery < 0)
            throw new StreamException($"--checkpoint-every is {CheckpointEvery}, expected at least 0.");
        if (Learners.Count == 0)
            throw new StreamException($"--learners names none; known are {string.Join(", ", LearnerKinds.All.Select(k => k.Id()))}.");
        if (Learners.Distinct().Count() != Learners.Count)
            throw new StreamException("--learners names a learner twice.");
    }
}
