namespace NestedLearning.Optimizers;

/// <summary>
/// P, what a memory of gradients takes as its values (NL 46–49): a second memory, of the gradients' curvature, that is written
/// with each gradient and read by a product P g.
/// </summary>
public abstract class Preconditioner
{
    /// <summary>P = I.</summary>
    public static Preconditioner Identity { get; } = new IdentityPreconditioner();

    /// <summary>The memory and P as equations; empty for the identity.</summary>
    public abstract string Rule { get; }

    /// <summary>Checks every setting. A rule without settings has nothing to check.</summary>
    /// <exception cref="ArgumentException">A setting is out of its range; the message names it, its value and what is allowed.</exception>
    public virtual void Validate()
    {
    }

    /// <summary>An empty memory for one parameter.</summary>
    /// <exception cref="ArgumentException">The parameter has a shape that P cannot act on, or a setting is out of its range.</exception>
    public abstract PreconditionerMemory CreateMemory(Parameter parameter);

    private sealed class IdentityPreconditioner : Preconditioner
    {
        public override string Rule => "";

        public override PreconditionerMemory CreateMemory(Parameter parameter) => new IdentityMemory();
    }

    private sealed class IdentityMemory : PreconditionerMemory
    {
        public override void Precondition(Tensor gradient, long commit)
        {
        }
    }
}

/// <summary>What a preconditioner remembers of one parameter's gradients.</summary>
public abstract class PreconditionerMemory
{
    /// <summary>The tensors of the memory by name.</summary>
    public virtual IReadOnlyList<(string Name, Tensor Value)> State => [];

    /// <summary>How often its parts are written; see <see cref="OptimizerMemory.Levels"/>.</summary>
    public virtual IReadOnlyList<OptimizerMemoryLevel> Levels =>
        State.Count == 0 ? []
        : [new(string.Join(", ", State.Select(s => s.Name)), Period: 1, OptimizerMemory.Bytes(State.Select(s => s.Value)))];

    /// <summary>Writes g into the memory, then gradient ← P g. Commits are counted from 1.</summary>
    public abstract void Precondition(Tensor gradient, long commit);
}
