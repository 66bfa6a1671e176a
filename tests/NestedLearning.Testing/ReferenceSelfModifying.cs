namespace NestedLearning.Testing;

/// <summary>
/// docs/specification.md, section 6 for matrix memories, token by token in double: the managed backend's one form of it, which is
/// generic. The golden cases of an independent program and finite differences hold it to the equations.
/// </summary>
public static unsafe class ReferenceSelfModifying
{
    public static SelfModifyingResult Forward(SelfModifyingCase c)
    {
        int state = c.StateShape.ElementCount;
        var result = new SelfModifyingResult(
            new double[c.InputShape.ElementCount], new double[state], new double[c.SavedShape.ElementCount], new double[state]);
        using var heads = new PinnedHeads(c.Time, c.Heads);
        for (int i = 0; i < c.Batch * c.Heads; i++)
        {
            SelfModifyingHead<double> head = Head(c, heads, result.States, i);
            new SelfModifyingForward<double>(
                head, heads.Tokens(result.O, i, c.Dim), heads.State(result.S, i, c.Dim, c.Columns),
                heads.State(result.ChunkStart, i, c.Dim, c.Columns),
                heads.Scratch(SelfModifyingForward<double>.ScratchLength(head))).Run();
        }

        return result;
    }

    /// <summary>The gradients from those that arrive at reads, final memories and S_c of the next token; null is zero.</summary>
    public static SelfModifyingInputGradients Backward(SelfModifyingCase c, double[] dOutput, double[]? dState,
        double[]? dNextChunkStart = null)
    {
        double[] states = Forward(c).States;
        int inputs = c.InputShape.ElementCount, state = c.StateShape.ElementCount;
        var g = new SelfModifyingInputGradients(new double[inputs], new double[inputs], new double[state], new double[state]);
        using var heads = new PinnedHeads(c.Time, c.Heads);
        for (int i = 0; i < c.Batch * c.Heads; i++)
        {
            SelfModifyingHead<double> head = Head(c, heads, states, i);
            new SelfModifyingBackward<double>(
                head, heads.Tokens(dOutput, i, c.Dim), new(State(dState, i), State(dNextChunkStart, i)), heads.Tokens(g.X, i, c.Dim),
                heads.Tokens(g.Q, i, c.Dim), new(State(g.S0, i), State(g.ChunkStart, i)),
                heads.Scratch(SelfModifyingBackward<double>.ScratchLength(head))).Run();
        }

        return g;

        Rows<double> State(double[]? array, int head) => heads.State(array, head, c.Dim, c.Columns);
    }

    /// <summary>x / √(Σx² + ε²) for each row.</summary>
    public static double[] Normalise(ReadOnlySpan<double> x, int width)
    {
        const double Epsilon = SelfModifyingSettings.NormEpsilon;
        double[] y = x.ToArray();
        for (int start = 0; start < y.Length; start += width)
        {
            double norm = Math.Sqrt(FiniteDifferences.Dot(x.Slice(start, width), x.Slice(start, width)) + Epsilon * Epsilon);
            for (int i = start; i < start + width; i++)
                y[i] /= norm;
        }

        return y;
    }

    private static SelfModifyingHead<double> Head(SelfModifyingCase c, PinnedHeads heads, double[] states, int head) => new()
    {
        X = heads.Tokens(c.X, head, c.Dim),
        Q = heads.Tokens(c.Q, head, c.Dim),
        Dim = c.Dim,
        Settings = c.Settings,
        Plan = c.Settings.Plan(c.Time),
        S0 = heads.State(c.S0, head, c.Dim, c.Columns),
        ChunkStart = heads.State(c.ChunkStart, head, c.Dim, c.Columns),
        Saved = heads.State(states, head, c.Settings.Chunks(c.Time) * c.Dim, c.Columns),
    };
}
