namespace NestedLearning.Operations;

/// <summary>The steps of a mixture by tracked weights, in float64.</summary>
internal static class MixtureChain
{
    /// <summary>Goes through the observations.</summary>
    /// <param name="logP">[T, k].</param>
    /// <param name="w">[k], in and out.</param>
    /// <param name="share">s.</param>
    /// <param name="o">[T], written; or empty.</param>
    public static void Run(ReadOnlySpan<float> logP, Span<float> w, float share, Span<float> o)
    {
        int members = w.Length;
        double[] logs = new double[members];
        for (int i = 0; i < members; i++)
            logs[i] = Math.Log(Subnormals.Flush(w[i]));
        for (int t = 0; t * members < logP.Length; t++)
        {
            double mixed = Step(logP.Slice(t * members, members), logs, share);
            if (!o.IsEmpty)
                o[t] = Subnormals.Flush((float)mixed);
        }

        if (logP.IsEmpty)
            return;
        for (int i = 0; i < members; i++)
            w[i] = Subnormals.Flush((float)Math.Exp(logs[i]));
    }

    // log Σ w p, and log w afterwards. The largest log p goes first: beside it a weight's logarithm could be lost.
    private static double Step(ReadOnlySpan<float> logP, double[] logs, double share)
    {
        double likeliest = double.NegativeInfinity, largest = double.NegativeInfinity, sum = 0;
        for (int i = 0; i < logs.Length; i++)
            likeliest = double.IsNegativeInfinity(logs[i]) ? likeliest : Math.Max(likeliest, logP[i]);
        bool impossible = double.IsNegativeInfinity(likeliest);
        for (int i = 0; i < logs.Length && !impossible; i++)
        {
            logs[i] += logP[i] - likeliest;
            largest = Math.Max(largest, logs[i]);
        }

        for (int i = 0; i < logs.Length && !impossible; i++)
            sum += Math.Exp(logs[i] - largest);
        double mixed = impossible ? 0 : largest + Math.Log(sum);
        for (int i = 0; i < logs.Length; i++)
        {
            double after = logs[i] - mixed;
            logs[i] = share == 0 ? after : Math.Log((1 - share) * Math.Exp(after) + share / logs.Length);
        }

        return likeliest + mixed;
    }
}
