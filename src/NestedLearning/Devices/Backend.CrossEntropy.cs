namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>
    /// <see cref="CrossEntropyForward"/>'s losses and, with gradientScale for each upstream gradient, what
    /// <see cref="CrossEntropyBackward"/> makes of them. dLogits may be logits.
    /// </summary>
    public abstract void CrossEntropyWithGradient(Tensor logits, IndexTensor targets, float gradientScale, Tensor losses, Tensor dLogits);
}
