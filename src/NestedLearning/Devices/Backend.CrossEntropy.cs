namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>
    /// <see cref="CrossEntropyForward"/>'s losses and, with gradientScale for each upstream gradient, what
    /// <see cref="CrossEntropyBackward"/> makes of them. dLogits may be logits.
    /// </summary>
    public abstract void CrossEntropyWithGradient(Tensor logits, IndexTensor targets, float gradientScale, Tensor losses, Tensor dLogits);

    /// <summary>
    /// The cross-entropy of the logits x Wᵀ, x [N, D], W [V, D], of which only blocks of rows are ever in memory. losses and
    /// logSums [N] as <see cref="CrossEntropyForward"/> writes them.
    /// </summary>
    public abstract void LinearCrossEntropyForward(Tensor x, Tensor weight, IndexTensor targets, Tensor losses, Tensor logSums);

    /// <summary>dx = its gradient, dWeight += the other one; null is not wanted. The logits are computed again.</summary>
    public abstract void LinearCrossEntropyBackward(Tensor x, Tensor weight, IndexTensor targets, Tensor logSums, Tensor dLosses, Tensor? dx, Tensor? dWeight);

    /// <summary>Both at once, with gradientScale for each upstream gradient: the logits are computed once.</summary>
    public abstract void LinearCrossEntropyWithGradient(Tensor x, Tensor weight, IndexTensor targets, float gradientScale, Tensor losses, Tensor? dx, Tensor? dWeight);
}
