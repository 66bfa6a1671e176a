namespace NestedLearning.Testing;

/// <summary>Golden cases as the problems they are.</summary>
public static class GoldenScan
{
    /// <summary>A case of <c>scan</c> or <c>scan-backward</c>.</summary>
    public static ScanCase Scan(GoldenCase golden, int chunk) =>
        Create(golden, "u", new ScanSettings(golden.Number("scale"), golden.Read, ScanWrite.Given, chunk));

    /// <summary>A case of <c>scan-frozen</c>.</summary>
    public static ScanCase Frozen(GoldenCase golden)
    {
        ScanWrite write = golden.Text("objective") switch
        {
            "l2" => ScanWrite.FrozenL2,
            "dot" => ScanWrite.Scaled,
            string other => throw new InvalidDataException($"{golden.Name}: objective is '{other}'."),
        };
        ScanCase scan = Create(golden, "v", new ScanSettings(golden.Number("scale"), golden.Read, write, golden.Integer("chunk")));
        scan.Theta = Compare.ToDouble(golden.Input("theta"));
        return scan;
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

        MemoryObjective objective = golden.Text("objective") == "l2" ? MemoryObjective.L2 : MemoryObjective.DotProduct;
        return new SelfModifyingCase
        {
            Batch = batch,
            Time = time,
            Heads = 1,
            Dim = d,
            Settings = new SelfModifyingSettings(
                golden.Integer("chunk"), objective, golden.Read, golden.Number("eta_scale"), golden.Number("eta_bias"), golden.Number("alpha_bias")),
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
            LogAlpha = Compare.ToDouble(golden.Input("log_alpha")),
            Erase = Compare.ToDouble(golden.Input("erase")),
            Mu = Compare.ToDouble(golden.Input("mu")),
            S0 = Compare.ToDouble(golden.Input("s0")),
            P0 = Compare.ToDouble(golden.Input("p0")),
        };
    }
}
