namespace NestedLearning.Testing;

/// <summary>Golden cases as the problems they are.</summary>
public static class GoldenScan
{
    /// <summary>A case of <c>scan</c> or <c>scan-backward</c>.</summary>
    public static ScanCase Scan(GoldenCase golden, int chunk) =>
        Create(golden, "u", new ScanSettings(golden.Number("scale"), golden.Read, ScanWrite.Given, chunk));

    /// <summary>A case of <c>scan-frozen</c> or <c>scan-frozen-backward</c>.</summary>
    public static ScanCase Frozen(GoldenCase golden)
    {
        ScanWrite write = golden.Objective == MemoryObjective.L2 ? ScanWrite.FrozenL2 : ScanWrite.Scaled;
        var settings = new ScanSettings(golden.Number("scale"), golden.Read, write, golden.Integer("chunk")) { Phase = golden.Phase };
        ScanCase scan = Create(golden, "v", settings);
        scan.Theta = golden.Optional("theta");
        return scan;
    }

    /// <summary>The gradients that a case of a scan's backward pass begins with.</summary>
    public static ScanUpstream Upstream(GoldenCase golden) =>
        new(golden.Optional("do"), golden.Optional("ds"), golden.Optional("dp"), golden.Optional("dchunk_start"));

    /// <summary>A case of <c>self-modifying-memories</c> or its backward pass.</summary>
    public static SelfModifyingCase SelfModifyingMemories(GoldenCase golden)
    {
        Shape x = golden.InputShape("x");
        return new SelfModifyingCase
        {
            Batch = x[0],
            Time = x[1],
            Heads = x[2],
            Dim = x[3],
            Settings = Settings(golden),
            X = golden.Optional("x")!,
            Q = golden.Optional("q")!,
            S0 = golden.Optional("s0")!,
            ChunkStart = golden.Optional("chunk_start"),
        };
    }

    /// <summary>
    /// A case of <c>self-modifying</c>: one head a sequence, the memories side by side, queries projected and normalised
    /// in double.
    /// </summary>
    public static SelfModifyingCase SelfModifying(GoldenCase golden)
    {
        Shape x = golden.InputShape("x");
        int batch = x[0], time = x[1], d = x[2], columns = SelfModifyingSettings.StateColumns(d);
        float[] inputs = golden.Input("x"), wq = golden.Input("wq");
        double[] q = new double[inputs.Length];
        for (int row = 0; row < batch * time; row++)
        {
            for (int i = 0; i < d; i++)
            {
                for (int j = 0; j < d; j++)
                    q[row * d + j] += (double)inputs[row * d + i] * wq[i * d + j];
            }
        }

        double[] s0 = new double[batch * d * columns];
        foreach ((string name, int start, int width) in StateColumns(d))
        {
            float[] part = golden.Input(name);
            for (int row = 0; row < batch * d; row++)
            {
                for (int j = 0; j < width; j++)
                    s0[row * columns + start + j] = part[row % d * width + j];
            }
        }

        return new SelfModifyingCase
        {
            Batch = batch,
            Time = time,
            Heads = 1,
            Dim = d,
            Settings = Settings(golden),
            X = Compare.ToDouble(inputs),
            Q = ReferenceSelfModifying.Normalise(q, d),
            S0 = s0,
        };
    }

    /// <summary>Where each memory's columns lie in a self-modifying state.</summary>
    public static IReadOnlyList<(string Name, int Start, int Width)> StateColumns(int d) =>
        [("s_k", 0, d), ("s_v", d, d), ("s_mem", 2 * d, d), ("s_eta", 3 * d, 1), ("s_alpha", 3 * d + 1, 1)];

    /// <summary>Some columns of states [.., columns].</summary>
    public static T[] Columns<T>(T[] state, int columns, int start, int width)
    {
        var part = new List<T>();
        for (int row = 0; row < state.Length / columns; row++)
            part.AddRange(state.AsSpan(row * columns + start, width));
        return [.. part];
    }

    private static SelfModifyingSettings Settings(GoldenCase golden) => new(
        golden.Integer("chunk"), golden.Objective, golden.Read, golden.Number("eta_scale"), golden.Number("eta_bias"),
        golden.Number("alpha_bias"), golden.Flag("normalize_values"))
    {
        ExactGradient = golden.Flag("exact_gradient"),
        Phase = golden.Phase,
    };

    private static ScanCase Create(GoldenCase golden, string write, ScanSettings settings)
    {
        Shape k = golden.InputShape("k");
        return new ScanCase
        {
            Batch = k[0],
            Time = k[1],
            Heads = k[2],
            KeyDim = k[3],
            ValueDim = golden.InputShape(write)[3],
            Settings = settings,
            Q = Compare.ToDouble(golden.Input("q")),
            K = Compare.ToDouble(golden.Input("k")),
            U = Compare.ToDouble(golden.Input(write)),
            LogAlpha = golden.Optional("log_alpha"),
            Erase = golden.Optional("erase"),
            Mu = golden.Optional("mu"),
            S0 = golden.Optional("s0"),
            P0 = golden.Optional("p0"),
            ChunkStart = golden.Optional("chunk_start"),
        };
    }
}
