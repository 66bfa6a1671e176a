namespace NestedLearning.Optimizers;

/// <summary>
/// AdaGrad (Duchi, Hazan and Singer), a memory of the squared gradients (NL 106–111): v ← v + g²; W ← W − η (g/(√v + ε) + λ W).
/// </summary>
public sealed class AdaGrad : ElementwiseOptimizer
{
    /// <summary>Added to √v, above 0 and not subnormal.</summary>
    public float Epsilon { get; init; } = 1e-10f;

    /// <summary>λ, for parameters that decay.</summary>
    public float WeightDecay { get; init; }

    /// <inheritdoc/>
    public override string Rule => WeightDecay == 0
        ? Readable.Text($"AdaGrad: v ← v + g², W ← W − η g/(√v + ε); ε = {Epsilon}")
        : Readable.Text($"AdaGrad: v ← v + g², W ← W − η (g/(√v + ε) + λ W); ε = {Epsilon}, λ = {WeightDecay}");

    private protected override string SecondMoment => "v";

    /// <inheritdoc/>
    public override void Validate()
    {
        Require.Epsilon(Epsilon);
        Require.Finite(WeightDecay);
    }

    private protected override MomentSettings Commit(float learningRate, bool decays) => new()
    {
        LearningRate = learningRate,
        Keep2 = 1,
        Write2 = 1,
        Epsilon = Epsilon,
        Decay = decays ? learningRate * WeightDecay : 0,
    };
}
