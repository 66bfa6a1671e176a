using NestedLearning.Operations;

namespace NestedLearning;

public abstract partial class HostBackend
{
    /// <inheritdoc/>
    public sealed override void Mixture(Tensor logP, Tensor w, float share, Tensor? o)
    {
        ArgumentNullException.ThrowIfNull(logP);
        ArgumentNullException.ThrowIfNull(w);
        MixtureChain.Run(logP.Span, w.Span, share, o is null ? [] : o.Span);
    }
}
