namespace NestedLearning.Optimizers;

/// <summary>
/// Momentum that answers a gradient's features with a preconditioned step (NL 46–47, and 51 with a feature map):
/// <code>
/// m ← α m − η P φ(g);   W ← W + m
/// </code>
/// Unlike in <see cref="Momentum"/> the learning rate is part of what is remembered.
/// </summary>
public sealed class PreconditionedMomentum : Optimizer
{
    /// <summary>α, in [0, 1).</summary>
    public double Decay { get; init; } = 0.9;

    /// <summary>P, a memory of φ(g).</summary>
    public Preconditioner Preconditioner { get; init; } = Preconditioner.Identity;

    /// <summary>φ.</summary>
    public FeatureMap Features { get; init; } = FeatureMap.Identity;

    /// <inheritdoc/>
    public override string Rule
    {
        get
        {
            string product = Preconditioner.Rule.Length > 0 ? "P g" : "g",
                features = Features.Term == "g" ? "" : $", with {Features.Term} for g";
            return Readable.Text(
                $"Preconditioned momentum: m ← α m − η {product}, W ← W + m; α = " +
                $"{Decay}{features}{(Preconditioner.Rule.Length > 0 ? $"; {Preconditioner.Rule}" : "")}");
        }
    }

    /// <inheritdoc/>
    public override void Validate()
    {
        Require.Retention(Decay);
        Preconditioner.Validate();
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">A setting is out of its range, or P cannot act on the parameter.</exception>
    public override OptimizerMemory CreateMemory(Parameter parameter)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        Validate();
        return new Memory(this, Preconditioner.CreateMemory(parameter), parameter.Value);
    }

    private sealed class Memory(PreconditionedMomentum optimizer, PreconditionerMemory preconditioner, Tensor weight)
        : LinearMomentumMemory(optimizer, preconditioner, weight)
    {
        protected internal override double LargestErrorNorm => optimizer.Features.LargestNorm;

        protected override void Update(Parameter parameter, float learningRate, float errorScale, long commit)
        {
            using Tensor g = parameter.Error.Clone();
            g.Device.Backend.Scale(g, errorScale);
            optimizer.Features.Apply(g, g);
            Preconditioner.Precondition(g, commit);
            WriteAndMove(parameter, g, (float)optimizer.Decay, learningRate);
        }
    }
}
