namespace NestedLearning.Models.Learning;

/// <summary>
/// A learner with inner levels that begin each episode at learned starts, adapt to the episode's support, and are judged
/// by the loss of its queries. An episode is usually a batch of tasks, each with inner memories of its own.
/// </summary>
/// <typeparam name="TEpisode">What an episode consists of.</typeparam>
public interface IEpisodicLearner<in TEpisode>
{
    /// <summary>Where it lives.</summary>
    Device Device { get; }

    /// <summary>What the outer loop learns: the starts of the inner levels, and whatever else. A step of its clock is an episode.</summary>
    LevelSystem Levels { get; }

    /// <summary>
    /// The mean loss of the episode's queries [1, 1] after the inner updates on its support, all beginning at the learned
    /// starts. Nothing of it stays in the learner.
    /// </summary>
    Variable QueryLoss(Tape tape, TEpisode episode, MetaGradient order);
}
