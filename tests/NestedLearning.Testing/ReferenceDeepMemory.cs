namespace NestedLearning.Testing;

/// <summary>
/// docs/specification.md, section 2, token by token in double: the managed backend's one form of it, which is generic, with every gate
/// given. The golden cases of an independent program and finite differences hold it to the equations.
/// </summary>
public static unsafe class ReferenceDeepMemory
{
    public static DeepMemoryResult Forward(DeepMemoryCase c)
    {
        int saved = c.SavedShape1.ElementCount;
        var result = new DeepMemoryResult(
            new double[c.TokenShape.ElementCount], Zeros(c), new double[saved], new double[saved], new double[saved], new double[saved]);
        using var heads = new Heads(c, result);
        for (int i = 0; i < c.Batch * c.Heads; i++)
        {
            DeepMemoryHead<double> head = heads[i];
            new DeepMemoryForward<double, Gelu>(
                head, heads.Tokens(result.O, i, c.Dim), heads.Weights(result.Final, i), heads.Starts(result.Final, i),
                heads.Scratch(DeepMemoryForward<double, Gelu>.ScratchLength(head))).Run();
        }

        return result;
    }

    /// <summary>The gradients, of every gate, whether it is given or not.</summary>
    public static DeepMemoryInputGradients Backward(DeepMemoryCase c, double[] dOutput, DeepMemoryState upstream)
    {
        int tokens = c.TokenShape.ElementCount, gates = c.GateShape.ElementCount;
        var g = new DeepMemoryInputGradients(
            new double[tokens], new double[tokens], new double[tokens], new double[gates], new double[gates], new double[gates],
            new double[gates], Zeros(c));
        using var heads = new Heads(c, Forward(c));
        for (int i = 0; i < c.Batch * c.Heads; i++)
        {
            DeepMemoryHead<double> head = heads[i];
            var results = new DeepMemoryHeadGradients<double>
            {
                Q = heads.Tokens(g.Q, i, c.Dim),
                K = heads.Tokens(g.K, i, c.Dim),
                V = heads.Tokens(g.V, i, c.Dim),
                LogAlpha = heads.Tokens(g.LogAlpha, i, 1),
                Theta = heads.Tokens(g.Theta, i, 1),
                Erase = heads.Tokens(g.Erase, i, 1),
                Mu = heads.Tokens(g.Mu, i, 1),
                Initial = heads.Weights(g.Initial, i),
                ChunkStart = heads.Starts(g.Initial, i),
            };
            new DeepMemoryBackward<double, Gelu>(
                head, heads.Tokens(dOutput, i, c.Dim), heads.Weights(upstream, i), heads.Starts(upstream, i), results,
                heads.Scratch(DeepMemoryBackward<double, Gelu>.ScratchLength(head))).Run();
        }

        return g;
    }

    private static DeepMemoryState Zeros(DeepMemoryCase c)
    {
        int size = c.Shape1.ElementCount;
        return new(new double[size], new double[size], new double[size], new double[size], new double[size], new double[size]);
    }

    private readonly struct Gelu : IDeepMemoryActivation<double>
    {
        public static void Value(double* x, int count, double* y)
        {
            for (int i = 0; i < count; i++)
                y[i] = ReferenceDense.Activate(Activation.Gelu, x[i]);
        }

        public static void Slope(double* x, int count, double* y)
        {
            for (int i = 0; i < count; i++)
                y[i] = ReferenceDense.ActivateDerivative(Activation.Gelu, x[i]);
        }

        public static void Curvature(double* x, int count, double* y)
        {
            for (int i = 0; i < count; i++)
                y[i] = (2 - x[i] * x[i]) * Math.Exp(-x[i] * x[i] / 2) / Math.Sqrt(2 * Math.PI);
        }
    }

    // A case's heads; an absent gate has its default value.
    private sealed class Heads(DeepMemoryCase c, DeepMemoryResult states) : PinnedHeads(c.Time, c.Heads)
    {
        private readonly double[] _logAlpha = c.LogAlpha ?? new double[c.GateShape.ElementCount];
        private readonly double[] _erase = c.Erase ?? new double[c.GateShape.ElementCount];
        private readonly double[] _mu = c.Mu ?? new double[c.GateShape.ElementCount];

        public DeepMemoryHead<double> this[int head] => new()
        {
            Q = Tokens(c.Q, head, c.Dim),
            K = Tokens(c.K, head, c.Dim),
            V = Tokens(c.V, head, c.Dim),
            LogAlpha = Tokens(_logAlpha, head, 1),
            Theta = Tokens(c.Theta, head, 1),
            Erase = Tokens(_erase, head, 1),
            Mu = Tokens(_mu, head, 1),
            Dim = c.Dim,
            Hidden = c.Hidden,
            Settings = c.Settings,
            Plan = c.Settings.Plan(c.Time),
            Initial = Weights(head, c.W1, c.W2, c.P1, c.P2),
            ChunkStart = Weights(head, c.ChunkStart1, c.ChunkStart2),
            Saved = Weights(head, states.SavedW1, states.SavedW2, states.SavedP1, states.SavedP2, c.Settings.Chunks(c.Time)),
        };

        public DeepMemoryWeights<double> Weights(DeepMemoryState state, int head) => Weights(head, state.W1, state.W2, state.P1, state.P2);

        public DeepMemoryWeights<double> Starts(DeepMemoryState state, int head) => Weights(head, state.ChunkStart1, state.ChunkStart2);

        private DeepMemoryWeights<double> Weights(int head, double[]? w1, double[]? w2, double[]? p1 = null, double[]? p2 = null,
            int chunks = 1) => new(
                State(w1, head, chunks * c.Hidden, c.Dim), State(w2, head, chunks * c.Dim, c.Hidden),
                State(p1, head, chunks * c.Hidden, c.Dim), State(p2, head, chunks * c.Dim, c.Hidden));
    }
}
