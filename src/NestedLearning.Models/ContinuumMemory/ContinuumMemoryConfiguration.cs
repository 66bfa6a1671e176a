namespace NestedLearning.Models;

/// <summary>A continuum memory system by itself: its width, levels, and how they learn.</summary>
public sealed record ContinuumMemoryConfiguration
{
    /// <summary>D: the width of its input and output.</summary>
    public int Dim { get; init; } = 64;

    /// <summary>The levels, the fastest first: no chunk is shorter than the one before.</summary>
    public IReadOnlyList<LevelConfiguration> Levels { get; init; } = [];

    /// <summary>The MLPs' form, and how knowledge passes between the levels.</summary>
    public ContinuumSettings Settings { get; init; } = new();

    /// <summary>How a chunk's error terms are combined.</summary>
    public ErrorReduction Reduction { get; init; } = ErrorReduction.Mean;

    /// <summary>The largest global norm of a level's error term at a commit, after reduction.</summary>
    public double ClipNorm { get; init; } = double.PositiveInfinity;

    /// <summary>Commits over which each level's learning rate rises.</summary>
    public int WarmupCommits { get; init; }

    /// <summary>
    /// W_out begins normal with this standard deviation over √N; for an x of unit variance f_ℓ(x) then has about 0.65 of it.
    /// 0: every MLP begins as the identity.
    /// </summary>
    public double OutputDeviation { get; init; } = 1;

    /// <summary>Where the random initial values come from.</summary>
    public ulong Seed { get; init; } = 1;

    /// <summary>Checks every setting.</summary>
    /// <exception cref="ArgumentException">A setting is out of its range; the message names it.</exception>
    public void Validate()
    {
        if (Dim < 1)
            throw new ArgumentException($"{nameof(Dim)} is {Dim}, expected at least 1.");
        if (Levels.Count == 0)
            throw new ArgumentException($"{nameof(Levels)} is empty, expected at least one level.");
        for (int i = 0; i < Levels.Count; i++)
        {
            LevelConfiguration level = Levels[i];
            level.Validate(Readable.Text($"Levels[{i}]"));
            if (i > 0 && level.Chunk < Levels[i - 1].Chunk)
                throw new ArgumentException($"Levels[{i}].Chunk is {level.Chunk}, expected at least the faster level's " +
                    $"{Levels[i - 1].Chunk}.");
        }

        if (!(OutputDeviation >= 0 && double.IsFinite(OutputDeviation)))
            throw new ArgumentException($"{nameof(OutputDeviation)} is {OutputDeviation}, expected a finite number of at least 0.");
        if (!Enum.IsDefined(Reduction))
            throw new ArgumentException($"{nameof(Reduction)} is {Reduction}, expected " +
                $"{string.Join(", ", Enum.GetNames<ErrorReduction>())}.");
        if (!(ClipNorm > 0))
            throw new ArgumentException($"{nameof(ClipNorm)} is {ClipNorm}, expected above 0.");
        if (WarmupCommits < 0)
            throw new ArgumentException($"{nameof(WarmupCommits)} is {WarmupCommits}, expected at least 0.");
        Settings.Validate(Dim);
    }
}
