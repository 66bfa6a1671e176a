namespace NestedLearning.Optimizers;

/// <summary>
/// W ← W − η (g + λ W): a memory with no past (NL 1–3). With η = 1 and error terms weighted as they come, NL 71 as it stands.
/// </summary>
public sealed class GradientDescent : ElementwiseOptimizer
{
    /// <summary>λ, for parameters that decay.</summary>
    public float WeightDecay { get; init; }

    /// <inheritdoc/>
    public override string Rule => WeightDecay == 0
        ? "Gradient descent: W ← W − η g"
        : Readable.Text($"Gradient descent: W ← W − η (g + λ W); λ = {WeightDecay}");

    /// <inheritdoc/>
    public override void Validate() => Require.Finite(WeightDecay);

    private protected override MomentSettings Commit(float learningRate, bool decays) =>
        new() { LearningRate = learningRate, Decay = decays ? learningRate * WeightDecay : 0 };
}
