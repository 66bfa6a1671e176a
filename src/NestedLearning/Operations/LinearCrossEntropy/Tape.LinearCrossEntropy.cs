namespace NestedLearning;

public sealed partial class Tape
{
    /// <summary>
    /// The loss of each row in nats of the logits x Wᵀ, which are never whole in memory: x [.., D], weight [V, D], one target
    /// a row (−1: none), result of the targets' shape. The backward pass computes the logits again; see
    /// <see cref="NestedLearning.Operations.LinearCrossEntropy"/>.
    /// </summary>
    /// <exception cref="ArgumentException">The shapes do not fit.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is neither a class nor −1.</exception>
    public Variable LinearCrossEntropy(Variable x, Variable weight, IndexTensor targets)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(weight);
        ArgumentNullException.ThrowIfNull(targets);
        var losses = new Variable(New(targets.Shape), Needs(x, weight));
        Tensor logSums = New(targets.Shape);
        Operations.LinearCrossEntropy.Forward(x.Value, weight.Value, targets, losses.Value, logSums);
        if (losses.NeedsGradient)
        {
            Record(
                () =>
                {
                    using WrittenGradient dx = Written(x);
                    Operations.LinearCrossEntropy.Backward(x.Value, weight.Value, targets, logSums, losses.Gradient!, dx.Place,
                        Added(weight));
                },
                losses);
        }

        return losses;
    }
}
