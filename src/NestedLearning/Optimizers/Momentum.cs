namespace NestedLearning.Optimizers;

/// <summary>
/// Gradient descent with momentum, a linear memory of the gradients (NL 10–13, 33), as a sum (heavy ball) or as a mean:
/// <code>
/// m ← μ m + g   or   m ← μ m + (1 − μ) g;   W ← W − η (m + λ W)
/// </code>
/// Nesterov's form reads what the next m would be if the gradient came again: μ m + g, or μ m + (1 − μ) g, in place of m.
/// </summary>
public sealed class Momentum : ElementwiseOptimizer
{
    /// <summary>μ, in [0, 1).</summary>
    public double Decay { get; init; } = 0.9;

    /// <summary>Whether m is the gradients' exponential moving mean, in place of their sum.</summary>
    public bool Average { get; init; }

    /// <summary>Nesterov's form.</summary>
    public bool Nesterov { get; init; }

    /// <summary>λ, for parameters that decay.</summary>
    public float WeightDecay { get; init; }

    /// <inheritdoc/>
    public override string Rule
    {
        get
        {
            string next = Average ? "μ m + (1 − μ) g" : "μ m + g", read = Nesterov ? next : "m";
            if (WeightDecay != 0)
                return Readable.Text($"Momentum: m ← {next}, W ← W − η ({read} + λ W); μ = {Decay}, λ = {WeightDecay}");
            return Readable.Text($"Momentum: m ← {next}, W ← W − η {(Nesterov ? $"({read})" : read)}; μ = {Decay}");
        }
    }

    private protected override string FirstMoment => "m";

    /// <inheritdoc/>
    public override void Validate()
    {
        Require.Retention(Decay);
        Require.Finite(WeightDecay);
    }

    private protected override MomentSettings Commit(float learningRate, bool decays)
    {
        float write = Average ? (float)(1 - Decay) : 1;
        return new MomentSettings
        {
            LearningRate = learningRate,
            Keep1 = (float)Decay,
            Write1 = write,
            ReadMoment = Nesterov ? (float)Decay : 1,
            ReadGradient = Nesterov ? write : 0,
            Decay = decays ? learningRate * WeightDecay : 0,
        };
    }
}
