namespace NestedLearning.Testing;

/// <summary>
/// A scan's inputs in double, with the shapes of <see cref="ScanInputs"/>. Elements come from float32, so that a device
/// and the reference start from the same numbers.
/// </summary>
public sealed record ScanCase
{
    public required int Batch { get; init; }

    public required int Time { get; init; }

    public required int Heads { get; init; }

    public required int KeyDim { get; init; }

    public required int ValueDim { get; init; }

    public required ScanSettings Settings { get; init; }

    public required double[] Q { get; init; }

    public required double[] K { get; init; }

    public required double[] U { get; init; }

    public double[]? LogAlpha { get; set; }

    public double[]? Erase { get; set; }

    public double[]? Mu { get; set; }

    public double[]? Theta { get; set; }

    public double[]? S0 { get; set; }

    public double[]? P0 { get; set; }

    /// <summary>S_c of the first chunk, where the settings' phase is not 0.</summary>
    public double[]? ChunkStart { get; set; }

    public Shape KeyShape => [Batch, Time, Heads, KeyDim];

    public Shape ValueShape => [Batch, Time, Heads, ValueDim];

    public Shape GateShape => [Batch, Time, Heads];

    public Shape StateShape => [Batch, Heads, KeyDim, ValueDim];

    public Shape SavedShape => [Batch, Heads, Settings.Chunks(Time), KeyDim, ValueDim];

    /// <summary>
    /// Seeded data of order one under which a memory neither grows without bound nor is forgotten at once: keys of length
    /// one, α in (0.7, 1), ε in (0, 0.9), μ in (0, 0.7).
    /// </summary>
    /// <param name="seed">What the data depends on, beside shapes.</param>
    /// <param name="shape">[B, T, H, Dk, Dv].</param>
    /// <param name="settings">What is computed.</param>
    /// <param name="gates">Which of α, ε and μ there are, by the letters <c>a</c>, <c>e</c> and <c>m</c>. θ is there when the settings want
    /// it.</param>
    /// <param name="initial">Whether there is an initial memory (and momentum, with μ).</param>
    public static ScanCase Create(ulong seed, Shape shape, ScanSettings settings, string gates, bool initial = true)
    {
        var data = new TestData(seed);
        int b = shape[0], t = shape[1], h = shape[2], dk = shape[3], dv = shape[4];
        Shape gateShape = [b, t, h], stateShape = [b, h, dk, dv];
        float[] q = data.UnitRows([b, t, h, dk]), k = data.UnitRows([b, t, h, dk]), u = data.Normal([b, t, h, dv]);
        float[] logAlpha = data.Uniform(gateShape, -0.35f, 0), erase = data.Uniform(gateShape, 0, 0.9f);
        float[] mu = data.Uniform(gateShape, 0, 0.7f), theta = data.Uniform(gateShape, 0.05f, 0.6f);
        float[] s0 = data.Normal(stateShape), p0 = data.Normal(stateShape, 0.5f);
        bool momentum = gates.Contains('m', StringComparison.Ordinal);
        return new ScanCase
        {
            Batch = b,
            Time = t,
            Heads = h,
            KeyDim = dk,
            ValueDim = dv,
            Settings = settings,
            Q = Compare.ToDouble(q),
            K = Compare.ToDouble(k),
            U = Compare.ToDouble(u),
            LogAlpha = gates.Contains('a', StringComparison.Ordinal) ? Compare.ToDouble(logAlpha) : null,
            Erase = gates.Contains('e', StringComparison.Ordinal) ? Compare.ToDouble(erase) : null,
            Mu = momentum ? Compare.ToDouble(mu) : null,
            Theta = settings.Write == ScanWrite.Given ? null : Compare.ToDouble(theta),
            S0 = initial ? Compare.ToDouble(s0) : null,
            P0 = initial && momentum ? Compare.ToDouble(p0) : null,
            ChunkStart = settings.Phase > 0 ? Compare.ToDouble(data.Normal(stateShape)) : null,
        };
    }

    /// <summary>The same inputs under other settings.</summary>
    public ScanCase With(ScanSettings settings) => this with { Settings = settings };

    /// <summary>
    /// Tokens <paramref name="start"/> to <paramref name="end"/> − 1, from other initial states; inside a chunk where its start is given.
    /// </summary>
    public ScanCase Slice(int start, int end, double[]? s0, double[]? p0, double[]? chunkStart = null)
    {
        return this with
        {
            Time = end - start,
            Settings = Settings with { Phase = chunkStart is null ? 0 : Settings.NextPhase(start) },
            Q = Tokens(Q, KeyDim)!,
            K = Tokens(K, KeyDim)!,
            U = Tokens(U, ValueDim)!,
            LogAlpha = Tokens(LogAlpha, 1),
            Erase = Tokens(Erase, 1),
            Mu = Tokens(Mu, 1),
            Theta = Tokens(Theta, 1),
            S0 = s0,
            P0 = p0,
            ChunkStart = chunkStart,
        };

        double[]? Tokens(double[]? whole, int width) => whole is null ? null : SliceTime(whole, Batch, Heads * width, start, end);
    }

    /// <summary>Tokens <paramref name="start"/> to <paramref name="end"/> − 1 of an array [B, T, width].</summary>
    public static T[] SliceTime<T>(T[] whole, int batch, int width, int start, int end)
    {
        int time = whole.Length / (batch * width);
        var part = new List<T>(batch * (end - start) * width);
        for (int b = 0; b < batch; b++)
            part.AddRange(whole.AsSpan((b * time + start) * width, (end - start) * width));
        return [.. part];
    }
}

/// <summary>A scan's results in double; the states before each chunk too, [B, H, chunks, Dk, Dv].</summary>
public sealed record ScanResult(double[] O, double[] S, double[] P, double[] States, double[] Momenta, double[] ChunkStart);

/// <summary>Gradients of a scan's results, or of its inputs, in double.</summary>
public sealed record ScanUpstream(double[]? O, double[]? S, double[]? P, double[]? ChunkStart = null);

/// <summary>A scan's input gradients in double; those of absent inputs are computed as if the input had its default value.</summary>
public sealed record ScanInputGradients(
    double[] Q, double[] K, double[] U, double[] LogAlpha, double[] Erase, double[] Mu, double[] Theta, double[] S0, double[] P0,
    double[] ChunkStart);
