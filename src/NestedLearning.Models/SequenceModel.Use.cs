namespace NestedLearning.Models;

public sealed partial class SequenceModel
{
    /// <summary>
    /// One step of training on whole sequences: the mean loss over the targets, its gradient, and one step of the levels' clock.
    /// So a level's <see cref="LevelConfiguration.Chunk"/> counts optimizer steps here, 1 being every step, where a stream counts
    /// tokens; the sequences begin with new states.
    /// </summary>
    /// <param name="tokens">[B, T]; T within <see cref="ModelConfiguration.ContextLength"/>.</param>
    /// <param name="targets">[B, T]: what follows each token, or −1 where nothing is asked.</param>
    /// <returns>The mean loss in nats, before the step.</returns>
    /// <exception cref="ArgumentException">The shapes do not fit, or every target is −1.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token or target is not in the vocabulary.</exception>
    /// <exception cref="NotFiniteNumberException">The loss or an error term is not finite; nothing changed.</exception>
    public double Learn(IndexTensor tokens, IndexTensor targets)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        ArgumentNullException.ThrowIfNull(targets);
        if (tokens.Shape.Rank != 2 || tokens.Shape[0] == 0)
            throw new ArgumentException($"tokens has shape {tokens.Shape}, expected [B, T].", nameof(tokens));
        int asked = targets.ToArray().Count(t => t >= 0);
        if (asked == 0)
            throw new ArgumentException("Every target is −1, expected one at least to learn from.", nameof(targets));
        using SequenceState state = NewState(tokens.Shape[0]);
        using var tape = new Tape(Device);
        (Variable logits, SequenceState next) = Forward(tape, tokens, state);
        next.Dispose();
        Variable losses = tape.CrossEntropy(logits, targets);
        double loss = losses.Value.ToArray().Sum(l => (double)l) / asked;
        if (!double.IsFinite(loss))
            throw new NotFiniteNumberException($"The loss is {loss}; nothing was learned.", loss);
        using Tensor seed = Device.Full(losses.Shape, 1f / asked);
        Levels.Learn(1, () => tape.Backward(losses, seed));
        return loss;
    }

    /// <summary>Tokens that continue a prompt, each drawn from the model's distribution given all before it.</summary>
    /// <param name="prompt">At least one token.</param>
    /// <param name="count">How many to draw.</param>
    /// <param name="sampler">How they are drawn; null is from the distribution as it is, with seed 0.</param>
    /// <param name="state">What came before the prompt, one sequence, only read; null is nothing.</param>
    /// <exception cref="ArgumentException">The prompt is empty, the state is a batch, or a setting is out of its range.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token is not in the vocabulary, or fewer than 0 are asked for.</exception>
    public int[] Generate(ReadOnlySpan<int> prompt, int count, Sampler? sampler = null, SequenceState? state = null)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        sampler ??= new Sampler();
        sampler.Validate();
        SequenceState current = state?.Clone() ?? NewState();
        try
        {
            int[] drawn = new int[count];
            for (int i = 0; i < count; i++)
            {
                float[] logits = Last(ref current, i == 0 ? prompt : drawn.AsSpan(i - 1, 1));
                drawn[i] = sampler.Draw(logits, (ulong)i);
            }

            return drawn;
        }
        finally
        {
            current.Dispose();
        }
    }

    /// <summary>The logits [V] of what follows some tokens.</summary>
    /// <param name="tokens">At least one.</param>
    /// <param name="state">What came before them, one sequence, only read; null is nothing.</param>
    /// <exception cref="ArgumentException">There are no tokens, or the state is a batch.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token is not in the vocabulary.</exception>
    public float[] NextLogits(ReadOnlySpan<int> tokens, SequenceState? state = null)
    {
        SequenceState current = state?.Clone() ?? NewState();
        try
        {
            return Last(ref current, tokens);
        }
        finally
        {
            current.Dispose();
        }
    }

    // Reads tokens, context by context; the logits after the last, and the state in place of the one before.
    private float[] Last(ref SequenceState state, ReadOnlySpan<int> tokens)
    {
        if (state.Batch != 1)
            throw new ArgumentException($"The state holds {state.Batch} sequences, expected 1.", nameof(state));
        if (tokens.IsEmpty)
            throw new ArgumentException("There are no tokens, expected one at least.", nameof(tokens));
        float[] logits = [];
        while (!tokens.IsEmpty)
        {
            int length = Math.Min(tokens.Length, StepsToContextEnd(state));
            using IndexTensor input = Device.FromIndices([1, length], tokens[..length]);
            using var tape = new Tape(Device, recording: false);
            (Variable all, SequenceState next) = Forward(tape, input, state);
            state.Dispose();
            state = next;
            tokens = tokens[length..];
            if (tokens.IsEmpty)
                logits = tape.Tokens(all, length - 1, 1).Value.ToArray();
        }

        return logits;
    }
}
