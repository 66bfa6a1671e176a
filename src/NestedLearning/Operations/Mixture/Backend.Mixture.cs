namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>
    /// Fixed-share mixing of log probabilities logP [T, k]; see <see cref="Operations.Mixture.Mix"/>. w [k] is the state, in and
    /// out; o [T] = the mixture's log probabilities, or null. It is a chain of T steps of k numbers, which one thread of the host
    /// goes through on every backend.
    /// </summary>
    public abstract void Mixture(Tensor logP, Tensor w, float share, Tensor? o);
}
