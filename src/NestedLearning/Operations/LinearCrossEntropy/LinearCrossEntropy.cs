namespace NestedLearning.Operations;

/// <summary>
/// Softmax cross-entropy of a linear output layer, logits = x Wᵀ, without the logits: they are made for a block of rows at
/// a time, at most 2²³ of them or 64 rows. x [.., D] with N rows, W [V, D] (such as a tied embedding), one target a row.
/// </summary>
public static class LinearCrossEntropy
{
    /// <summary>
    /// losses [N] = −log softmax(x Wᵀ)[target] in nats, 0 where the target is −1; logSums [N] as the backward pass takes it.
    /// </summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is neither a class nor −1.</exception>
    public static void Forward(Tensor x, Tensor weight, IndexTensor targets, Tensor losses, Tensor logSums)
    {
        Validate(x, weight, targets, losses, null, null);
        Require.OneForEachRow(logSums, targets.Count, x.Device, nameof(logSums));
        using Held held = Held.All(targets, x, weight, losses, logSums);
        x.Device.Backend.LinearCrossEntropyForward(x, weight, targets, losses, logSums);
    }

    /// <summary>
    /// dx = the gradient of <see cref="Forward"/>, dWeight += the other one, for any dLosses [N]; nulls are not wanted. The
    /// logits are computed again, one more product of the three that a gradient takes.
    /// </summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is neither a class nor −1.</exception>
    public static void Backward(Tensor x, Tensor weight, IndexTensor targets, Tensor logSums, Tensor dLosses, Tensor? dx, Tensor? dWeight)
    {
        Validate(x, weight, targets, dLosses, dx, dWeight);
        Require.OneForEachRow(logSums, targets.Count, x.Device, nameof(logSums));
        using Held held = Held.All(targets, x, weight, logSums, dLosses, dx, dWeight);
        x.Device.Backend.LinearCrossEntropyBackward(x, weight, targets, logSums, dLosses, dx, dWeight);
    }

    /// <summary>
    /// losses [N], and of gradientScale · Σ losses the gradients dx (written) and dWeight (added to) in the same pass: for a
    /// caller who knows the upstream gradient beforehand, such as 1/N of a mean.
    /// </summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is neither a class nor −1, or the scale is not finite.</exception>
    public static void WithGradient(Tensor x, Tensor weight, IndexTensor targets, float gradientScale, Tensor losses, Tensor? dx,
        Tensor? dWeight)
    {
        Require.Finite(gradientScale);
        Validate(x, weight, targets, losses, dx, dWeight);
        using Held held = Held.All(targets, x, weight, losses, dx, dWeight);
        x.Device.Backend.LinearCrossEntropyWithGradient(x, weight, targets, gradientScale, losses, dx, dWeight);
    }

    private static void Validate(Tensor x, Tensor weight, IndexTensor targets, Tensor losses, Tensor? dx, Tensor? dWeight)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(weight);
        ArgumentNullException.ThrowIfNull(targets);
        Require.OnDevice(weight, x.Device);
        Require.Rank(weight, 2, "[V, D]");
        Require.SameShape(weight, [weight.Shape[0], x.Shape.Last]);
        Require.Positive(weight.Shape[0], "classes");
        Require.Targets(targets, x.Shape.Rows, weight.Shape[0]);
        Require.OneForEachRow(losses, targets.Count, x.Device);
        Require.OptionalShape(dx, x.Shape);
        Require.OptionalShape(dWeight, weight.Shape);
        Require.OnDevice(dx, x.Device);
        Require.OnDevice(dWeight, x.Device);
    }
}
