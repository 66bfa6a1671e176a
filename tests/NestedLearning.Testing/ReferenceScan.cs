namespace NestedLearning.Testing;

/// <summary>
/// docs/specification.md, section 1 token by token in double: the managed backend's one form of it, which is generic, with every gate
/// given. The golden cases of an independent program and finite differences hold it to the equations.
/// <code>
/// w_t = u_t − ε_t (k_t S_{t−1});  P_t = μ_t P_{t−1} + k_tᵀ w_t;  S_t = α_t S_{t−1} + P_t;  o_t = scale · q_t S_t, q_t S_{t−1} or q_t S_c
/// u_t = U_t,  θ_t U_t  or  θ_t (U_t − k_t S_c)
/// </code>
/// </summary>
public static unsafe class ReferenceScan
{
    public static ScanResult Forward(ScanCase c)
    {
        long state = c.StateShape.ElementCount, saved = c.SavedShape.ElementCount;
        var result = new ScanResult(
            new double[c.ValueShape.ElementCount], new double[state], new double[state], new double[saved], new double[saved],
            new double[state]);
        using var heads = new Heads(c, result.States, result.Momenta);
        for (int i = 0; i < c.Batch * c.Heads; i++)
        {
            ScanHead<double> head = heads[i];
            var final = new ScanStates<double>(heads.State(result.S, i), heads.State(result.P, i), heads.State(result.ChunkStart, i));
            new ScanForward<double>(
                head, final, heads.Tokens(result.O, i, c.ValueDim), heads.Scratch(ScanForward<double>.ScratchLength(head))).Run();
        }

        return result;
    }

    /// <summary>The gradients, of every gate, whether it is given or not.</summary>
    public static ScanInputGradients Backward(ScanCase c, ScanUpstream upstream)
    {
        ScanResult forward = Forward(c);
        long gate = c.GateShape.ElementCount, state = c.StateShape.ElementCount, key = c.KeyShape.ElementCount;
        var g = new ScanInputGradients(
            new double[key], new double[key], new double[c.ValueShape.ElementCount],
            new double[gate], new double[gate], new double[gate], new double[gate],
            new double[state], new double[state], new double[state]);
        using var heads = new Heads(c, forward.States, forward.Momenta);
        for (int i = 0; i < c.Batch * c.Heads; i++)
        {
            ScanHead<double> head = heads[i];
            var results = new ScanHeadGradients<double>
            {
                Q = heads.Tokens(g.Q, i, c.KeyDim),
                K = heads.Tokens(g.K, i, c.KeyDim),
                U = heads.Tokens(g.U, i, c.ValueDim),
                LogAlpha = heads.Tokens(g.LogAlpha, i, 1),
                Erase = heads.Tokens(g.Erase, i, 1),
                Mu = heads.Tokens(g.Mu, i, 1),
                Theta = heads.Tokens(g.Theta, i, 1),
                Initial = new(heads.State(g.S0, i), heads.State(g.P0, i), heads.State(g.ChunkStart, i)),
            };
            var arriving = new ScanStates<double>(heads.State(upstream.S, i), heads.State(upstream.P, i),
                heads.State(upstream.ChunkStart, i));
            new ScanBackward<double>(
                head, heads.Tokens(upstream.O, i, c.ValueDim), arriving, results,
                heads.Scratch(ScanBackward<double>.ScratchLength(head))).Run();
        }

        return g;
    }

    // A case's heads; an absent gate has its default value.
    private sealed class Heads(ScanCase c, double[] states, double[] momenta) : PinnedHeads(c.Time, c.Heads)
    {
        private readonly double[] _logAlpha = c.LogAlpha ?? new double[c.GateShape.ElementCount];
        private readonly double[] _erase = c.Erase ?? new double[c.GateShape.ElementCount];
        private readonly double[] _mu = c.Mu ?? new double[c.GateShape.ElementCount];

        public ScanHead<double> this[int head] => new()
        {
            Q = Tokens(c.Q, head, c.KeyDim),
            K = Tokens(c.K, head, c.KeyDim),
            U = Tokens(c.U, head, c.ValueDim),
            LogAlpha = Tokens(_logAlpha, head, 1),
            Erase = Tokens(_erase, head, 1),
            Mu = Tokens(_mu, head, 1),
            Theta = Tokens(c.Theta, head, 1),
            KeyDim = c.KeyDim,
            ValueDim = c.ValueDim,
            Scale = c.Settings.Scale,
            Read = c.Settings.Read,
            Write = c.Settings.Write,
            Plan = c.Settings.Plan(c.Time),
            HasMomentum = true,
            Initial = new(State(c.S0, head), State(c.P0, head), State(c.ChunkStart, head)),
            SavedS = State(states, head, c.Settings.Chunks(c.Time)),
            SavedP = State(momenta, head, c.Settings.Chunks(c.Time)),
        };

        public Rows<double> State(double[]? array, int head, int chunks = 1) => State(array, head, chunks * c.KeyDim, c.ValueDim);
    }
}
