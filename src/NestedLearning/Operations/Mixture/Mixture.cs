using System.Globalization;

namespace NestedLearning.Operations;

/// <summary>The mixture of predictors by tracked weights. Arguments are checked before anything is written.</summary>
public static class Mixture
{
    /// <summary>How far from 1 the sum of weights may be.</summary>
    public const double SumTolerance = 1e-3;

    /// <summary>
    /// Mixes k predictors by fixed share (Herbster and Warmuth 1998; docs/specification.md, section 8), one observation after the
    /// other:
    /// <code>
    /// p = Σ w_i p_i     o = log p     v_i = w_i p_i/p     w_i ← (1 − s) v_i + s/k
    /// </code>
    /// Against any sequence of predictors that changes m times in T steps −Σ o is more by at most
    /// ln k + m ln(k/s) + (T − 1 − m) ln(1/(1 − s + s/k)), if the weights begin as 1/k. An observation that all predictors with a
    /// weight hold for impossible has o = −∞ and tells nothing of them: v is w. Within a call weights are logarithms in float64;
    /// w between calls is float32, so that with s = 0 a weight below 2⁻¹²⁶ is lost.
    /// </summary>
    /// <param name="logP">[T, k]: log p_i of what was observed; −∞ is a probability of 0. Densities may be above 0.</param>
    /// <param name="w">[k], in and out: the weights, at least 0, which sum up to 1.</param>
    /// <param name="share">s, from 0 to 1.</param>
    /// <param name="o">[T], written: the mixture's log p; or null.</param>
    /// <exception cref="ArgumentException">
    /// A shape or device does not fit, there are no predictors, a weight is below 0 or their sum is not 1, or a log p is NaN or +∞. Nothing
    /// was written.
    /// </exception>
    /// <exception cref="ArgumentOutOfRangeException">The share is out of its range. Nothing was written.</exception>
    public static void Mix(Tensor logP, Tensor w, float share, Tensor? o)
    {
        Require.Given(logP, w);
        Require.OnDevice(o, logP.Device);
        Require.Rank(logP, 2, "[T, k]");
        int members = logP.Shape[1];
        if (members == 0)
            throw new ArgumentException($"logP has shape {logP.Shape}, expected at least one predictor.", nameof(logP));
        Require.Axes(w, [members]);
        Require.OptionalShape(o, [logP.Shape[0]]);
        Require.InRange(share, 0, 1);
        using Held held = Held.All(logP, w, o);
        RequireProbabilities(logP, members);
        RequireWeights(w);
        logP.Device.Backend.Mixture(logP, w, share, o);
    }

    private static void RequireProbabilities(Tensor logP, int members)
    {
        ReadOnlySpan<float> elements = logP.Device.Backend.RunsOnHost ? logP.Span : logP.ToArray();
        for (int i = 0; i < elements.Length; i++)
        {
            if (!(elements[i] < float.PositiveInfinity))
                throw new ArgumentException($"logP has {elements[i].ToString(CultureInfo.InvariantCulture)} at " +
                    $"[{i / members}, {i % members}], expected finite numbers or -Infinity.", nameof(logP));
        }
    }

    private static void RequireWeights(Tensor w)
    {
        double sum = 0;
        float[] weights = w.ToArray();
        for (int i = 0; i < weights.Length; i++)
        {
            if (!(weights[i] >= 0))
                throw new ArgumentException(Readable.Text($"w has {weights[i]} at [{i}], expected at least 0."), nameof(w));
            sum += weights[i];
        }

        if (!(Math.Abs(sum - 1) <= SumTolerance))
            throw new ArgumentException(Readable.Text($"w sums up to {sum}, expected 1 within {SumTolerance}."), nameof(w));
    }
}
