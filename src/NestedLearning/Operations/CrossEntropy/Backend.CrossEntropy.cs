namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>
    /// <see cref="CrossEntropyForward"/>'s losses and, with gradientScale for each upstream gradient, what
    /// <see cref="CrossEntropyBackward"/> makes of them. dLogits may be logits.
    /// </summary>
    public abstract void CrossEntropyWithGradient(Tensor logits, IndexTensor targets, float gradientScale, Tensor losses, Tensor dLogits);

    /// <summary>
    /// losses [N] = logsumexp(logits[n]) − logits[n, target_n], in nats; 0 where target is −1. logSums [N] receives the
    /// logsumexp for the backward pass.
    /// </summary>
    public abstract void CrossEntropyForward(Tensor logits, IndexTensor targets, Tensor losses, Tensor logSums);

    /// <summary>dLogits = (softmax(logits[n]) − onehot) · dLosses[n]; 0 where target is −1. dLogits may be logits.</summary>
    public abstract void CrossEntropyBackward(Tensor logits, IndexTensor targets, Tensor logSums, Tensor dLosses, Tensor dLogits);
}
