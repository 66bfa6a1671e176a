namespace NestedLearning.Testing;

/// <summary>A deep memory's inputs in double, with the shapes of <see cref="DeepMemoryInputs"/>; elements come from float32.</summary>
public sealed record DeepMemoryCase
{
    public required int Batch { get; init; }

    public required int Time { get; init; }

    public required int Heads { get; init; }

    public required int Dim { get; init; }

    public required int Hidden { get; init; }

    public required DeepMemorySettings Settings { get; init; }

    public required double[] Q { get; init; }

    public required double[] K { get; init; }

    public required double[] V { get; init; }

    public double[]? LogAlpha { get; init; }

    public double[]? Theta { get; init; }

    public double[]? Erase { get; init; }

    public double[]? Mu { get; init; }

    public required double[] W1 { get; init; }

    public required double[] W2 { get; init; }

    public double[]? P1 { get; init; }

    public double[]? P2 { get; init; }

    public double[]? ChunkStart1 { get; init; }

    public double[]? ChunkStart2 { get; init; }

    public Shape TokenShape => [Batch, Time, Heads, Dim];

    public Shape GateShape => [Batch, Time, Heads];

    public Shape Shape1 => [Batch, Heads, Hidden, Dim];

    public Shape Shape2 => [Batch, Heads, Dim, Hidden];

    public Shape SavedShape1 => [Batch, Heads, Settings.Chunks(Time), Hidden, Dim];

    public Shape SavedShape2 => [Batch, Heads, Settings.Chunks(Time), Dim, Hidden];

    /// <summary>
    /// Seeded data of order one under which the weights neither grow without bound nor are forgotten at once: keys of length
    /// about one, α in (0.7, 1), ε in (0, 0.9), μ in (0, 0.7), and θ so small that a chunk's steps at frozen weights do not
    /// shoot past their targets.
    /// </summary>
    /// <param name="seed">What the data depends on, beside shapes.</param>
    /// <param name="shape">[B, T, H, D, N].</param>
    /// <param name="settings">What is computed.</param>
    /// <param name="given">
    /// What is given of the optional inputs: <c>a</c> log α, <c>t</c> θ, <c>e</c> ε, <c>m</c> μ, <c>p</c> momenta where there is μ.
    /// </param>
    public static DeepMemoryCase Create(ulong seed, Shape shape, DeepMemorySettings settings, string given = "atemp")
    {
        var data = new TestData(seed);
        int b = shape[0], t = shape[1], h = shape[2], d = shape[3], n = shape[4];
        Shape tokens = [b, t, h, d], gates = [b, t, h], shape1 = [b, h, n, d], shape2 = [b, h, d, n];
        float[] q = data.UnitRows(tokens), k = data.Normal(tokens, 1 / MathF.Sqrt(d)), v = data.Normal(tokens, 0.7f);
        float step = 0.4f / (1 + n / 4f) * Math.Min(1, 4f / Math.Min(t + settings.Phase, settings.Chunk));
        float[] logAlpha = data.Uniform(gates, -0.35f, 0), theta = data.Uniform(gates, step / 8, step);
        float[] erase = data.Uniform(gates, 0, 0.9f), mu = data.Uniform(gates, 0, 0.7f);
        float[] w1 = data.Normal(shape1, 1 / MathF.Sqrt(n)), w2 = data.Normal(shape2);
        float[] p1 = data.Normal(shape1, 0.3f), p2 = data.Normal(shape2, 0.3f);
        float[] start1 = data.Normal(shape1, 1 / MathF.Sqrt(n)), start2 = data.Normal(shape2);
        bool momenta = Given('m') && Given('p'), inside = settings.Phase > 0;
        return new DeepMemoryCase
        {
            Batch = b,
            Time = t,
            Heads = h,
            Dim = d,
            Hidden = n,
            Settings = settings,
            Q = Compare.ToDouble(q),
            K = Compare.ToDouble(k),
            V = Compare.ToDouble(v),
            LogAlpha = Given('a') ? Compare.ToDouble(logAlpha) : null,
            Theta = Given('t') ? Compare.ToDouble(theta) : null,
            Erase = Given('e') ? Compare.ToDouble(erase) : null,
            Mu = Given('m') ? Compare.ToDouble(mu) : null,
            W1 = Compare.ToDouble(w1),
            W2 = Compare.ToDouble(w2),
            P1 = momenta ? Compare.ToDouble(p1) : null,
            P2 = momenta ? Compare.ToDouble(p2) : null,
            ChunkStart1 = inside ? Compare.ToDouble(start1) : null,
            ChunkStart2 = inside ? Compare.ToDouble(start2) : null,
        };

        bool Given(char letter) => given.Contains(letter, StringComparison.Ordinal);
    }

    /// <summary>A golden case of <c>mlp-memory</c> or its backward pass.</summary>
    public static DeepMemoryCase FromGolden(GoldenCase golden)
    {
        Shape k = golden.InputShape("k");
        return new DeepMemoryCase
        {
            Batch = k[0],
            Time = k[1],
            Heads = k[2],
            Dim = k[3],
            Hidden = golden.InputShape("w2")[3],
            Settings = new DeepMemorySettings(golden.Integer("chunk"), golden.Objective, golden.Read, golden.Flag("residual"))
            {
                Phase = golden.Phase,
            },
            Q = golden.Optional("q")!,
            K = golden.Optional("k")!,
            V = golden.Optional("v")!,
            LogAlpha = golden.Optional("log_alpha"),
            Theta = golden.Optional("theta"),
            Erase = golden.Optional("erase"),
            Mu = golden.Optional("mu"),
            W1 = golden.Optional("w1")!,
            W2 = golden.Optional("w2")!,
            P1 = golden.Optional("p1"),
            P2 = golden.Optional("p2"),
            ChunkStart1 = golden.Optional("chunk_start1"),
            ChunkStart2 = golden.Optional("chunk_start2"),
        };
    }

    /// <summary>Tokens <paramref name="start"/> to <paramref name="end"/> − 1 under other settings; the initial state stays.</summary>
    public DeepMemoryCase Slice(int start, int end, DeepMemorySettings settings)
    {
        return this with
        {
            Time = end - start,
            Settings = settings,
            Q = Tokens(Q, Dim)!,
            K = Tokens(K, Dim)!,
            V = Tokens(V, Dim)!,
            LogAlpha = Tokens(LogAlpha, 1),
            Theta = Tokens(Theta, 1),
            Erase = Tokens(Erase, 1),
            Mu = Tokens(Mu, 1),
        };

        double[]? Tokens(double[]? whole, int width) => whole is null ? null : ScanCase.SliceTime(whole, Batch, Heads * width, start, end);
    }
}

/// <summary>The state of a deep memory in double, or gradients to it; momenta are zero without μ.</summary>
public sealed record DeepMemoryState(double[] W1, double[] W2, double[] P1, double[] P2, double[] ChunkStart1, double[] ChunkStart2);

/// <summary>Results in double: reads, the final state, and the state before each chunk's first token.</summary>
public sealed record DeepMemoryResult(double[] O, DeepMemoryState Final, double[] SavedW1, double[] SavedW2, double[] SavedP1,
    double[] SavedP2);

/// <summary>Input gradients in double; those of absent inputs are computed as if the input had its default value.</summary>
public sealed record DeepMemoryInputGradients(
    double[] Q, double[] K, double[] V, double[] LogAlpha, double[] Theta, double[] Erase, double[] Mu, DeepMemoryState Initial);
