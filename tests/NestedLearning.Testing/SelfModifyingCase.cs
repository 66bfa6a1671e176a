namespace NestedLearning.Testing;

/// <summary>
/// A self-modifying scan's inputs in double, with the shapes of <see cref="SelfModifyingInputs"/>; elements come from float32.
/// </summary>
public sealed record SelfModifyingCase
{
    public required int Batch { get; init; }

    public required int Time { get; init; }

    public required int Heads { get; init; }

    public required int Dim { get; init; }

    public required SelfModifyingSettings Settings { get; init; }

    public required double[] X { get; init; }

    public required double[] Q { get; init; }

    public required double[] S0 { get; init; }

    /// <summary>S_c of the first chunk, where the settings' phase is not 0.</summary>
    public double[]? ChunkStart { get; init; }

    public int Columns => SelfModifyingSettings.StateColumns(Dim);

    public Shape InputShape => [Batch, Time, Heads, Dim];

    public Shape StateShape => [Batch, Heads, Dim, Columns];

    public Shape SavedShape => [Batch, Heads, Settings.Chunks(Time), Dim, Columns];

    /// <summary>Seeded data: inputs of length about one, memories that keep it so.</summary>
    /// <param name="seed">What the data depends on, beside shapes.</param>
    /// <param name="shape">[B, T, H, D].</param>
    /// <param name="settings">What is computed.</param>
    public static SelfModifyingCase Create(ulong seed, Shape shape, SelfModifyingSettings settings)
    {
        var data = new TestData(seed);
        int b = shape[0], t = shape[1], h = shape[2], d = shape[3];
        float deviation = 1 / MathF.Sqrt(d);
        return new SelfModifyingCase
        {
            Batch = b,
            Time = t,
            Heads = h,
            Dim = d,
            Settings = settings,
            X = Compare.ToDouble(data.Normal(shape, deviation)),
            Q = Compare.ToDouble(data.UnitRows(shape)),
            S0 = Compare.ToDouble(data.Normal([b, h, d, SelfModifyingSettings.StateColumns(d)], deviation)),
            ChunkStart = settings.Phase > 0 ? Compare.ToDouble(data.Normal([b, h, d, SelfModifyingSettings.StateColumns(d)], deviation))
            : null,
        };
    }

    /// <summary>
    /// Tokens <paramref name="start"/> to <paramref name="end"/> − 1, from another initial state; inside a chunk where its start is given.
    /// </summary>
    public SelfModifyingCase Slice(int start, int end, double[] s0, double[]? chunkStart = null) => this with
    {
        Time = end - start,
        Settings = Settings with { Phase = chunkStart is null ? 0 : Settings.NextPhase(start) },
        X = ScanCase.SliceTime(X, Batch, Heads * Dim, start, end),
        Q = ScanCase.SliceTime(Q, Batch, Heads * Dim, start, end),
        S0 = s0,
        ChunkStart = chunkStart,
    };
}

/// <summary>Results in double; the states before each chunk too, [B, H, chunks, D, 3D + 2].</summary>
public sealed record SelfModifyingResult(double[] O, double[] S, double[] States, double[] ChunkStart);

/// <summary>Input gradients in double.</summary>
public sealed record SelfModifyingInputGradients(double[] X, double[] Q, double[] S0, double[] ChunkStart);
