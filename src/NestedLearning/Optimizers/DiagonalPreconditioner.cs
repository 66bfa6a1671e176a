namespace NestedLearning.Optimizers;

/// <summary>P as a diagonal, a memory of the squared gradients: v ← ρ v + (1 − ρ) g²; P g = g/(√v + ε).</summary>
public sealed class DiagonalPreconditioner : Preconditioner
{
    /// <summary>ρ, in [0, 1).</summary>
    public double Decay { get; init; } = 0.99;

    /// <summary>Added to √v, above 0 and not subnormal.</summary>
    public float Epsilon { get; init; } = 1e-8f;

    /// <inheritdoc/>
    public override string Rule => Readable.Text($"v ← ρ v + (1 − ρ) g², P g = g/(√v + ε); ρ = {Decay}, ε = {Epsilon}");

    /// <inheritdoc/>
    public override void Validate()
    {
        Require.Retention(Decay);
        Require.Epsilon(Epsilon);
    }

    /// <inheritdoc/>
    public override PreconditionerMemory CreateMemory(Parameter parameter)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        Validate();
        return new Memory(this, parameter.Value.Device.Zeros(parameter.Value.Shape));
    }

    private sealed class Memory(DiagonalPreconditioner settings, Tensor v) : PreconditionerMemory
    {
        public override IReadOnlyList<(string Name, Tensor Value)> State { get; } = [("v", v)];

        // A weight that starts from zero and descends −g/(√v + ε) ends up as P g.
        public override void Precondition(Tensor gradient, long commit)
        {
            using Tensor preconditioned = gradient.Device.Empty(gradient.Shape), zero = gradient.Device.Zeros(gradient.Shape);
            MomentCommit.Apply(new MomentTensors(preconditioned, gradient, V: v, Start: zero), new MomentSettings
            {
                GradientIsBounded = true,
                LearningRate = -1,
                Keep2 = (float)settings.Decay,
                Write2 = (float)(1 - settings.Decay),
                Epsilon = settings.Epsilon,
            });
            gradient.CopyFrom(preconditioned);
        }
    }
}
