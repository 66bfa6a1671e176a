namespace NestedLearning.Models.Learning;

/// <summary>
/// A sequence model as an episodic learner: its fast memories begin each sequence at their learned starts and adapt as
/// they read. The queries are the tokens that have a target.
/// </summary>
/// <param name="model">What reads; it stays the caller's. Its context must be at least as long as the sequences.</param>
/// <param name="levels">What the outer loop learns, if not the model's own levels; it stays the caller's.</param>
public sealed class SequenceLearner(SequenceModel model, LevelSystem? levels = null) : IEpisodicLearner<SequenceEpisode>
{
    /// <inheritdoc/>
    public Device Device => model.Device;

    /// <inheritdoc/>
    public LevelSystem Levels => levels ?? model.Levels;

    /// <inheritdoc/>
    public Variable QueryLoss(Tape tape, SequenceEpisode episode, MetaGradient order)
    {
        ArgumentNullException.ThrowIfNull(tape);
        Validate(episode);
        SequenceState state = model.NewState(episode.Batch);
        int start = 0;
        if (order == MetaGradient.FirstOrder && episode.Support > 0)
        {
            using var inner = new Tape(Device, recording: false);
            (_, SequenceState adapted) = Read(inner, episode, 0, episode.Support, state);
            state.Dispose();
            state = adapted;
            start = episode.Support;
        }

        // The backward pass reads the memories again.
        tape.Keep(state);
        (Variable logits, SequenceState next) = Read(tape, episode, start, episode.Time, state);
        next.Dispose();
        return tape.MeanCrossEntropy(logits,
            tape.Keep(Device.FromIndices([episode.Batch, episode.Time - start], episode.Slice(start, episode.Time).Targets)));
    }

    /// <summary>The share of an episode's targets that get the largest logit.</summary>
    public double Accuracy(SequenceEpisode episode)
    {
        int right = 0, asked = 0;
        int[] predicted = Predict(episode);
        for (int i = 0; i < predicted.Length; i++)
        {
            if (episode.Targets[i] < 0)
                continue;
            asked++;
            if (predicted[i] == episode.Targets[i])
                right++;
        }

        return (double)right / asked;
    }

    /// <summary>The token with the largest logit, [B, T].</summary>
    public int[] Predict(SequenceEpisode episode)
    {
        Validate(episode);
        using var tape = new Tape(Device, recording: false);
        using SequenceState state = model.NewState(episode.Batch);
        (Variable logits, SequenceState next) = Read(tape, episode, 0, episode.Time, state);
        next.Dispose();
        float[] values = logits.Value.ToArray();
        int vocabulary = logits.Shape.Last;
        int[] predicted = new int[values.Length / vocabulary];
        for (int i = 0; i < predicted.Length; i++)
        {
            ReadOnlySpan<float> row = values.AsSpan(i * vocabulary, vocabulary);
            for (int v = 1; v < vocabulary; v++)
            {
                if (row[v] > row[predicted[i]])
                    predicted[i] = v;
            }
        }

        return predicted;
    }

    private (Variable Logits, SequenceState Next) Read(Tape tape, SequenceEpisode episode, int start, int end, SequenceState state) =>
        model.Forward(tape, tape.Keep(Device.FromIndices([episode.Batch, end - start], episode.Slice(start, end).Tokens)), state);

    private static void Validate(SequenceEpisode episode)
    {
        ArgumentNullException.ThrowIfNull(episode);
        if (episode.Batch < 1 || episode.Tokens.Length == 0 || episode.Tokens.Length % episode.Batch != 0
            || episode.Targets.Length != episode.Tokens.Length)
            throw new ArgumentException($"There are {episode.Tokens.Length} tokens and {episode.Targets.Length} targets in " +
                $"{episode.Batch} sequences, expected as many of both, the same number in each.", nameof(episode));
        if (episode.Support < 0 || episode.Support >= episode.Time)
            throw new ArgumentException($"The support is {episode.Support} of {episode.Time} tokens, expected 0 to {episode.Time - 1}.",
                nameof(episode));
        if (Array.Exists(episode.Slice(0, episode.Support).Targets, t => t >= 0))
            throw new ArgumentException($"A target stands within the support of {episode.Support} tokens, expected queries only behind it.",
                nameof(episode));
    }
}
