namespace NestedLearning;

/// <summary>
/// Adam (Kingma and Ba) and AdamW (Loshchilov and Hutter): first and second moments of the gradient as memories, bias
/// corrected (NL 100–105).
/// <code>
/// m ← β1 m + (1 − β1) g;  v ← β2 v + (1 − β2) g²;  W ← W − η m̂ / (√v̂ + ε)
/// AdamW: W ← W − η λ W;   Adam: g ← g + λ W
/// </code>
/// </summary>
public sealed class Adam : Optimizer
{
    /// <summary>Decay of the first moment, in [0, 1).</summary>
    public float Beta1 { get; init; } = 0.9f;

    /// <summary>Decay of the second moment, in [0, 1).</summary>
    public float Beta2 { get; init; } = 0.999f;

    /// <summary>Added to √v̂.</summary>
    public float Epsilon { get; init; } = 1e-8f;

    /// <summary>λ, for parameters that decay.</summary>
    public float WeightDecay { get; init; }

    /// <summary>True is AdamW: the decay acts on the weights, not through the gradient.</summary>
    public bool Decoupled { get; init; } = true;

    /// <inheritdoc/>
    public override OptimizerMemory CreateMemory(Parameter parameter)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        return new Memory(this, parameter);
    }

    private sealed class Memory(Adam settings, Parameter parameter) : OptimizerMemory
    {
        private readonly Tensor _m = parameter.Value.Device.Zeros(parameter.Value.Shape);
        private readonly Tensor _v = parameter.Value.Device.Zeros(parameter.Value.Shape);

        public override IReadOnlyList<(string Name, Tensor Value)> State => [("m", _m), ("v", _v)];

        protected override void Update(Parameter parameter, float learningRate, float errorScale, long commit) =>
            Dense.AdamCommit(parameter.Value, parameter.Error, _m, _v, new AdamSettings(
                learningRate, settings.Beta1, settings.Beta2, settings.Epsilon, parameter.Decays ? settings.WeightDecay : 0, settings.Decoupled, commit, errorScale));
    }
}
