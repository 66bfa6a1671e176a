namespace NestedLearning;

/// <summary>W ← W − η g: a memory with no past (NL 1–3). With η = 1 and error terms weighted as they come, NL 71 as it stands.</summary>
public sealed class GradientDescent : Optimizer
{
    /// <inheritdoc/>
    public override string Rule => "Gradient descent: W ← W − η g";

    /// <inheritdoc/>
    public override OptimizerMemory CreateMemory(Parameter parameter) => new Memory(this);

    private sealed class Memory(GradientDescent optimizer) : OptimizerMemory(optimizer)
    {
        public override IReadOnlyList<(string Name, Tensor Value)> State => [];

        protected override void Update(Parameter parameter, float learningRate, float errorScale, long commit) =>
            Dense.AddScaled(-learningRate * errorScale, parameter.Error, parameter.Value);
    }
}
