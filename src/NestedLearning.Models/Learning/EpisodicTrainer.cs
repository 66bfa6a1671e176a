namespace NestedLearning.Models.Learning;

/// <summary>
/// Learns how to learn: over episodes, inner levels adapt from their learned starts and the outer levels descend the
/// loss of the queries (docs/specification.md, section 5),
/// <code>
/// θ₀^(s+1) = argmin_Φ E_{T ~ C^(s)} [ ℓ(Θ, T; Φ) ]
/// </code>
/// A learner and its tasks are whatever implements <see cref="IEpisodicLearner{TEpisode}"/>; <see cref="MemoryLearner{TEpisode}"/>
/// makes one of two methods, <see cref="SequenceLearner"/> one of a <see cref="SequenceModel"/>.
/// </summary>
/// <typeparam name="TEpisode">What an episode consists of.</typeparam>
/// <param name="learner">What learns; it stays the caller's.</param>
public sealed class EpisodicTrainer<TEpisode>(IEpisodicLearner<TEpisode> learner)
{
    /// <summary>How the gradient reaches the starts.</summary>
    public MetaGradient Order { get; init; }

    /// <summary>
    /// Adapts to one episode, adds the gradient of its queries' loss to the error terms, and commits the levels that are due.
    /// </summary>
    /// <returns>The mean loss of its queries before the commit.</returns>
    /// <exception cref="NotFiniteNumberException">The loss or an error term is not finite; nothing changed.</exception>
    public double Step(TEpisode episode)
    {
        double loss = 0;
        learner.Levels.Learn(1, () => loss = AddGradient(episode));
        return loss;
    }

    /// <summary>Adds the gradient of an episode to the error terms, without moving the levels' clock.</summary>
    /// <returns>The mean loss of its queries.</returns>
    /// <exception cref="NotFiniteNumberException">The loss is not finite; nothing changed.</exception>
    public double AddGradient(TEpisode episode)
    {
        using var tape = new Tape(learner.Device);
        Variable loss = learner.QueryLoss(tape, episode, Order);
        float value = loss.Value.ToArray()[0];
        if (!float.IsFinite(value))
            throw new NotFiniteNumberException($"The queries' loss is {value}; nothing was learned from the episode.", value);
        using Tensor one = learner.Device.Full(loss.Shape, 1);
        tape.Backward(loss, one);
        return value;
    }

    /// <summary>The mean loss of an episode's queries after the inner updates; the outer levels learn nothing.</summary>
    public double Evaluate(TEpisode episode)
    {
        using var tape = new Tape(learner.Device, recording: false);
        return learner.QueryLoss(tape, episode, Order).Value.ToArray()[0];
    }
}
