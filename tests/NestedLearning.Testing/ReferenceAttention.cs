namespace NestedLearning.Testing;

/// <summary>
/// Causal softmax attention in double, query by query:
/// <code>
/// s_j = scale · ⟨q_t, k_j⟩ for j ≤ S − T + t;  logSum_t = log Σ_j e^s_j;  o_t = Σ_j e^(s_j − logSum_t) v_j
/// </code>
/// </summary>
public static class ReferenceAttention
{
    public static (double[] O, double[] LogSums) Forward(AttentionCase c)
    {
        double[] o = new double[c.OShape.ElementCount], logSums = new double[c.SumShape.ElementCount];
        for (int row = 0; row < logSums.Length; row++)
        {
            double[] p = Probabilities(c, row, out logSums[row]);
            for (int j = 0; j < p.Length; j++)
            {
                for (int i = 0; i < c.ValueDim; i++)
                    o[row * c.ValueDim + i] += p[j] * c.V[KeyRow(c, row, j) * c.ValueDim + i];
            }
        }

        return (o, logSums);
    }

    /// <summary>ds_j = p_j (⟨do, v_j⟩ − Σ p ⟨do, v⟩); dq = scale Σ ds_j k_j; dk_j += scale ds_j q; dv_j += p_j do.</summary>
    public static (double[] Q, double[] K, double[] V) Backward(AttentionCase c)
    {
        double[] dq = new double[c.Q.Length], dk = new double[c.K.Length], dv = new double[c.V.Length];
        for (int row = 0; row < c.SumShape.ElementCount; row++)
        {
            double[] p = Probabilities(c, row, out _), dp = new double[p.Length];
            double mean = 0;
            for (int j = 0; j < p.Length; j++)
            {
                int key = KeyRow(c, row, j);
                for (int i = 0; i < c.ValueDim; i++)
                {
                    dp[j] += c.DOutput[row * c.ValueDim + i] * c.V[key * c.ValueDim + i];
                    dv[key * c.ValueDim + i] += p[j] * c.DOutput[row * c.ValueDim + i];
                }

                mean += p[j] * dp[j];
            }

            for (int j = 0; j < p.Length; j++)
            {
                int key = KeyRow(c, row, j);
                double ds = c.Scale * p[j] * (dp[j] - mean);
                for (int i = 0; i < c.KeyDim; i++)
                {
                    dq[row * c.KeyDim + i] += ds * c.K[key * c.KeyDim + i];
                    dk[key * c.KeyDim + i] += ds * c.Q[row * c.KeyDim + i];
                }
            }
        }

        return (dq, dk, dv);
    }

    private static double[] Probabilities(AttentionCase c, int row, out double logSum)
    {
        int time = row / c.Heads % c.Time;
        double[] p = new double[c.Keys - c.Time + time + 1];
        double maximum = double.NegativeInfinity, sum = 0;
        for (int j = 0; j < p.Length; j++)
        {
            p[j] = c.Scale * FiniteDifferences.Dot(c.Q.AsSpan(row * c.KeyDim, c.KeyDim),
                c.K.AsSpan(KeyRow(c, row, j) * c.KeyDim, c.KeyDim));
            maximum = Math.Max(maximum, p[j]);
        }

        foreach (double s in p)
            sum += Math.Exp(s - maximum);
        logSum = maximum + Math.Log(sum);
        for (int j = 0; j < p.Length; j++)
            p[j] = Math.Exp(p[j] - logSum);
        return p;
    }

    // The row of key j in the head and sequence of a row of queries.
    private static int KeyRow(AttentionCase c, int row, int j) => (row / c.Heads / c.Time * c.Keys + j) * c.Heads + row % c.Heads;
}
