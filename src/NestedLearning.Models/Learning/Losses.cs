namespace NestedLearning.Models.Learning;

/// <summary>Mean losses [1, 1] on a tape.</summary>
public static class Losses
{
    /// <summary>The mean in nats over the targets that are not −1: logits [.., V].</summary>
    /// <exception cref="ArgumentException">The shapes do not fit, or every target is −1.</exception>
    public static Variable MeanCrossEntropy(this Tape tape, Variable logits, IndexTensor targets)
    {
        ArgumentNullException.ThrowIfNull(tape);
        ArgumentNullException.ThrowIfNull(targets);
        int count = targets.ToArray().Count(t => t >= 0);
        if (count == 0)
            throw new ArgumentException("Every target is -1, expected at least one to predict.", nameof(targets));
        return Sum(tape, tape.CrossEntropy(logits, targets), 1f / count);
    }

    /// <summary>The mean of (prediction − target)² over all elements.</summary>
    /// <exception cref="ArgumentException">The shapes differ.</exception>
    public static Variable MeanSquaredError(this Tape tape, Variable prediction, Tensor target)
    {
        ArgumentNullException.ThrowIfNull(tape);
        ArgumentNullException.ThrowIfNull(prediction);
        ArgumentNullException.ThrowIfNull(target);
        Tensor negative = tape.Keep(tape.Device.Zeros(target.Shape));
        Elementwise.AddScaled(-1, target, negative);
        Variable error = tape.Add(prediction, tape.Input(negative));
        return Sum(tape, tape.Multiply(error, error), 1f / target.Count);
    }

    // A sum is a product with a column of equal weights.
    private static Variable Sum(Tape tape, Variable x, float weight)
    {
        Tensor column = tape.Keep(tape.Device.Full([x.Value.Count, 1], weight));
        return tape.Linear(tape.Reshape(x, [1, x.Value.Count]), tape.Input(column));
    }
}
