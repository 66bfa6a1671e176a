namespace NestedLearning.Operations;

/// <summary>Softmax cross-entropy of logits. Arguments are checked before anything is written.</summary>
public static class CrossEntropy
{
    /// <summary>
    /// losses [N] = −log softmax(logits [N, V])[target] in nats, 0 where the target is −1; logSums [N] as the backward pass takes it.
    /// </summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is neither a class nor −1.</exception>
    public static void Forward(Tensor logits, IndexTensor targets, Tensor losses, Tensor logSums)
    {
        Require.Given(logits, losses);
        Require.Given(logits, logSums);
        Validate(logits, targets, losses, logSums);
        using Held held = Held.All(targets, logits, losses, logSums);
        logits.Device.Backend.CrossEntropyForward(logits, targets, losses, logSums);
    }

    /// <summary>dLogits = (softmax(logits[n]) − onehot) dLosses[n]; dLogits may be logits.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is neither a class nor −1.</exception>
    public static void Backward(Tensor logits, IndexTensor targets, Tensor logSums, Tensor dLosses, Tensor dLogits)
    {
        Require.Given(logits, dLogits);
        Require.Given(logits, dLosses);
        Require.Given(logits, logSums);
        Validate(logits, targets, dLosses, logSums);
        Require.SameShape(dLogits, logits.Shape);
        using Held held = Held.All(targets, logits, logSums, dLosses, dLogits);
        logits.Device.Backend.CrossEntropyBackward(logits, targets, logSums, dLosses, dLogits);
    }

    /// <summary>
    /// losses [N] as <see cref="Forward"/> and dLogits = gradientScale (softmax(logits[n]) − onehot), 0 where the
    /// target is −1, reading the logits once. dLogits may be logits.
    /// </summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is neither a class nor −1, or the scale is not finite.</exception>
    public static void WithGradient(Tensor logits, IndexTensor targets, float gradientScale, Tensor losses, Tensor dLogits)
    {
        Require.Given(logits, losses);
        Require.Given(logits, dLogits);
        Require.Finite(gradientScale);
        Validate(logits, targets, losses, losses);
        Require.SameShape(dLogits, logits.Shape);
        using Held held = Held.All(targets, logits, losses, dLogits);
        logits.Device.Backend.CrossEntropyWithGradient(logits, targets, gradientScale, losses, dLogits);
    }

    private static void Validate(Tensor logits, IndexTensor targets, Tensor losses, Tensor logSums)
    {
        ArgumentNullException.ThrowIfNull(targets);
        Require.Positive(logits.Shape.Last, "classes");
        Require.Targets(targets, logits.Shape.Rows, logits.Shape.Last);
        Require.Count(losses, targets.Count, "losses");
        Require.Count(logSums, targets.Count, "logSums");
    }
}
