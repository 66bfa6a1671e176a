namespace NestedLearning.Models.Learning;

/// <summary>
/// An episodic learner whose inner levels are memories on the tape: <see cref="Tape.Scan"/>, <see cref="Tape.SelfModifying"/>
/// or anything else that maps memories to memories. A task is two methods, <see cref="Adapt"/> and
/// <see cref="QueryLoss(Tape, TEpisode, IReadOnlyList{Variable})"/>; both orders of the outer gradient follow from them.
/// </summary>
/// <typeparam name="TEpisode">A batch of tasks.</typeparam>
public abstract class MemoryLearner<TEpisode> : IEpisodicLearner<TEpisode>
{
    /// <inheritdoc/>
    public abstract Device Device { get; }

    /// <inheritdoc/>
    public abstract LevelSystem Levels { get; }

    /// <summary>The learned start of each memory.</summary>
    protected abstract IReadOnlyList<Parameter> Starts { get; }

    /// <inheritdoc/>
    public Variable QueryLoss(Tape tape, TEpisode episode, MetaGradient order)
    {
        ArgumentNullException.ThrowIfNull(tape);
        return QueryLoss(tape, episode,
            order == MetaGradient.SecondOrder || !tape.Recording ? Adapted(tape, episode) : AdaptedFirstOrder(tape, episode));
    }

    /// <summary>The number of tasks in an episode.</summary>
    protected abstract int Batch(TEpisode episode);

    /// <summary>The inner updates: the memories [B, ..] after the episode's support, from memories [B, ..] before it.</summary>
    protected abstract IReadOnlyList<Variable> Adapt(Tape tape, TEpisode episode, IReadOnlyList<Variable> memories);

    /// <summary>The mean loss [1, 1] of the episode's queries under adapted memories.</summary>
    protected abstract Variable QueryLoss(Tape tape, TEpisode episode, IReadOnlyList<Variable> memories);

    private IReadOnlyList<Variable> Adapted(Tape tape, TEpisode episode)
    {
        int batch = Batch(episode);
        return Adapt(tape, episode, [.. Starts.Select(s => tape.UseStart(s, BatchOf(s, batch)))]);
    }

    private IReadOnlyList<Variable> AdaptedFirstOrder(Tape tape, TEpisode episode)
    {
        using var inner = new Tape(Device, recording: false);
        IReadOnlyList<Variable> adapted = Adapted(inner, episode);
        if (adapted.Count != Starts.Count)
            throw new InvalidOperationException($"There are {adapted.Count} adapted memories, expected one for each of {Starts.Count} " +
                "starts.");
        return [.. adapted.Select((memory, i) => tape.UseFirstOrder(Starts[i], tape.Keep(memory.Value.Clone())))];
    }

    private static Shape BatchOf(Parameter start, int batch) => new([batch, .. start.Value.Shape.AsSpan()]);
}
