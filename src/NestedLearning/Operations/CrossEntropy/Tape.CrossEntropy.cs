namespace NestedLearning;

public sealed partial class Tape
{
    /// <summary>The loss of each row in nats: logits [.., V], one target a row (−1: none), result of the targets' shape.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A target is neither a class nor −1.</exception>
    public Variable CrossEntropy(Variable logits, IndexTensor targets)
    {
        ArgumentNullException.ThrowIfNull(logits);
        ArgumentNullException.ThrowIfNull(targets);
        var losses = new Variable(New(targets.Shape), Needs(logits));
        Tensor logSums = New(targets.Shape);
        Operations.CrossEntropy.Forward(logits.Value, targets, losses.Value, logSums);
        if (losses.NeedsGradient)
        {
            Record(
                () =>
                {
                    using WrittenGradient dLogits = Written(logits);
                    Operations.CrossEntropy.Backward(logits.Value, targets, logSums, losses.Gradient!, dLogits.Place!);
                },
                losses);
        }

        return losses;
    }
}
