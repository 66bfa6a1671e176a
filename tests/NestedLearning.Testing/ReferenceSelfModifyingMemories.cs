namespace NestedLearning.Testing;

/// <summary>One memory of <see cref="ReferenceSelfModifyingMemories"/>: a matrix, or two layers where there are hidden units.</summary>
/// <param name="Chunk">Tokens for which it is frozen.</param>
/// <param name="Hidden">N; 0 is a matrix.</param>
/// <param name="Residual">Whether two layers answer x + φ(x W2) W1.</param>
/// <param name="Starts">S [H, D, Dv], or W1 [H, N, Dv] and W2 [H, D, N].</param>
public sealed record ReferenceMemory(int Chunk, int Hidden, bool Residual, double[][] Starts);

/// <summary>The inputs: x and, unless a sixth memory makes them, queries [B, T, H, D]; memories k, v, η, α, mem and perhaps q.</summary>
public sealed record ReferenceMemoriesCase(int Batch, int Time, int Heads, int Dim, SelfModifyingSettings Settings, double[] X, double[]? Q,
    ReferenceMemory[] Memories);

/// <summary>
/// docs/specification.md, section 6, in its general form, token by token in double: each memory a matrix or two layers
/// (docs/specification.md, section 2), frozen at the starts of its own chunks. The settings' chunk is not used.
/// <code>
/// k = norm(M_k,c(x))   v = M_v,c(x)   η = softplus(M_η,c(x) + b_η) s_η   α = sigmoid(M_α,c(x) + b_α)   q = norm(M_q,c(x))
/// S ← α S − η kᵀ(k S) − η kᵀ(k S_c − v̂)     exact: k S in place of k S_c;  dot product: −v̂ alone;  v̂ = M_□,c(v)
/// z = k W2_c   h = φ(z)   e = k + h W1_c − v̂ or −v̂   x̂ = x / √(Σx² + ε²)
/// W1 ← α W1 − η ĥᵀ(ĥ W1) − η hᵀ e            W2 ← α W2 − η k̂ᵀ(k̂ W2) − η kᵀ((e W1_cᵀ) ∘ φ'(z))
/// </code>
/// </summary>
public static class ReferenceSelfModifyingMemories
{
    private const int Key = 0, Value = 1, Rate = 2, Decay = 3, Read = 4, Query = 5;

    /// <summary>Reads of mem [B, T, H, D].</summary>
    public static double[] Forward(ReferenceMemoriesCase c)
    {
        double[] o = new double[c.Batch * c.Time * c.Heads * c.Dim];
        for (int b = 0; b < c.Batch; b++)
        {
            for (int h = 0; h < c.Heads; h++)
                Head(c, b, h, o);
        }

        return o;
    }

    private static void Head(ReferenceMemoriesCase c, int batch, int head, double[] o)
    {
        int d = c.Dim;
        SelfModifyingSettings settings = c.Settings;
        double[][][] weights = Array.ConvertAll(c.Memories, m =>
            Array.ConvertAll(m.Starts, s => s.AsSpan(head * s.Length / c.Heads, s.Length / c.Heads).ToArray()));
        double[][][] frozen = new double[weights.Length][][];
        for (int t = 0; t < c.Time; t++)
        {
            for (int i = 0; i < weights.Length; i++)
            {
                if (t % c.Memories[i].Chunk == 0)
                    frozen[i] = Array.ConvertAll(weights[i], w => (double[])w.Clone());
            }

            int row = (batch * c.Time + t) * c.Heads + head;
            double[] x = c.X.AsSpan(row * d, d).ToArray();
            double[] k = ReferenceSelfModifying.Normalise(Frozen(Key, x), d), v = Frozen(Value, x);
            if (settings.NormalizeValues)
                v = ReferenceSelfModifying.Normalise(v, d);
            double eta = ReferenceDense.Activate(Activation.Softplus, Frozen(Rate, x).Average() + settings.EtaBias) * settings.EtaScale;
            double alpha = ReferenceDense.Activate(Activation.Sigmoid, Frozen(Decay, x).Average() + settings.AlphaBias);
            double[] q = c.Q is null ? ReferenceSelfModifying.Normalise(Frozen(Query, x), d) : c.Q.AsSpan(row * d, d).ToArray();
            double[] read = settings.Read == ScanRead.ChunkStart ? Frozen(Read, q) : Answer(c.Memories[Read], weights[Read], q);
            for (int i = 0; i < weights.Length; i++)
                Write(c.Memories[i], settings, weights[i], frozen[i], k, Frozen(i, v), eta, alpha);
            if (settings.Read == ScanRead.After)
                read = Answer(c.Memories[Read], weights[Read], q);
            read.CopyTo(o, row * d);
        }

        double[] Frozen(int i, double[] input) => Answer(c.Memories[i], frozen[i], input);
    }

    private static double[] Answer(ReferenceMemory memory, double[][] w, double[] x)
    {
        if (memory.Hidden == 0)
            return Times(x, w[0]);
        double[] answer = Times(Array.ConvertAll(Times(x, w[1]), Gelu), w[0]);
        return memory.Residual ? Sum(answer, 1, x) : answer;
    }

    private static void Write(ReferenceMemory memory, SelfModifyingSettings settings, double[][] w, double[][] start, double[] k,
        double[] target, double eta, double alpha)
    {
        bool l2 = settings.Objective == MemoryObjective.L2;
        if (memory.Hidden == 0)
        {
            double[] answer = l2 ? Times(k, settings.ExactGradient ? w[0] : start[0]) : new double[target.Length];
            Step(w[0], k, k, Sum(answer, -1, target), eta, alpha);
            return;
        }

        double[] z = Times(k, start[1]), h = Array.ConvertAll(z, Gelu);
        double[] error = Sum(l2 ? Answer(memory, start, k) : new double[target.Length], -1, target);
        double[] inner = new double[z.Length];
        for (int j = 0; j < z.Length; j++)
            inner[j] = FiniteDifferences.Dot(error, start[0].AsSpan(j * error.Length, error.Length))
                * ReferenceDense.ActivateDerivative(Activation.Gelu, z[j]);
        Step(w[0], h, ReferenceSelfModifying.Normalise(h, h.Length), error, eta, alpha);
        Step(w[1], k, ReferenceSelfModifying.Normalise(k, k.Length), inner, eta, alpha);
    }

    // S ← α S − η x̂ᵀ(x̂ S) − η xᵀ gradient
    private static void Step(double[] s, double[] x, double[] unit, double[] gradient, double eta, double alpha)
    {
        double[] old = Times(unit, s);
        for (int i = 0; i < x.Length; i++)
        {
            for (int j = 0; j < old.Length; j++)
                s[i * old.Length + j] = alpha * s[i * old.Length + j] - eta * (unit[i] * old[j] + x[i] * gradient[j]);
        }
    }

    private static double[] Times(double[] row, double[] matrix)
    {
        double[] result = new double[matrix.Length / row.Length];
        for (int i = 0; i < row.Length; i++)
        {
            for (int j = 0; j < result.Length; j++)
                result[j] += row[i] * matrix[i * result.Length + j];
        }

        return result;
    }

    private static double[] Sum(double[] x, double factor, double[] y) => [.. x.Zip(y, (a, b) => a + factor * b)];

    private static double Gelu(double x) => ReferenceDense.Activate(Activation.Gelu, x);
}
