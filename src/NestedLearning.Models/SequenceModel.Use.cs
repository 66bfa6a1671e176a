using System.Text.Json.Nodes;

namespace NestedLearning.Models;

public sealed partial class SequenceModel
{
    /// <summary>
    /// Writes parameters, waiting error terms, optimizer memories and clocks, each name starting with the prefix, and the whole
    /// configuration as JSON into the metadata. Fast memory is a <see cref="SequenceState"/>, which has its own.
    /// </summary>
    public void Save(SafetensorsFile file, string prefix)
    {
        ArgumentNullException.ThrowIfNull(file);
        CheckpointSettings.Save(file, prefix, ConfigurationJson.Of(Configuration));
        Levels.Save(file, prefix + LevelsPrefix);
    }

    /// <summary>Takes over what <see cref="Save"/> wrote.</summary>
    /// <param name="file">What was written.</param>
    /// <param name="prefix">What its names start with.</param>
    /// <param name="allow">
    /// Settings that may differ from the file's, such as <c>LearningRate</c>, <c>learning_rate</c> or <c>Levels[1].Chunk</c>; they
    /// stay as they are here. <see cref="ModelConfiguration.Seed"/> always may: it decides initial values alone.
    /// </param>
    /// <exception cref="ArgumentException">There is no setting of a name to be allowed. Nothing changed.</exception>
    /// <exception cref="CheckpointException">Something is missing or does not fit, or a setting is another: the message names it, with
    /// both values. Nothing changed.</exception>
    public void Load(SafetensorsFile file, string prefix, IReadOnlyCollection<string>? allow = null) =>
        PrepareLoad(file, prefix, allow)();

    /// <summary>The model that <see cref="Save"/> wrote, with its configuration.</summary>
    /// <exception cref="CheckpointException">Something is missing or does not fit, or an optimizer is not one of this library's: then
    /// it is made with its configuration, and takes the file over by <see cref="Load(SafetensorsFile, string,
    /// IReadOnlyCollection{string}?)"/>.</exception>
    public static SequenceModel Load(Device device, SafetensorsFile file, string prefix)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(file);
        SequenceModel model = Create(device, file, prefix);
        try
        {
            model.Load(file, prefix, allow: null);
            return model;
        }
        catch
        {
            model.Dispose();
            throw;
        }
    }

    // A model of a file's configuration and rates, which the file can fill.
    internal static SequenceModel Create(Device device, SafetensorsFile file, string prefix)
    {
        ModelConfiguration configuration = ConfigurationJson.Read(file, prefix);
        SequenceModel model;
        try
        {
            model = new SequenceModel(device, configuration, (name, shape) => file.Floats($"{prefix}{LevelsPrefix}value.{name}", shape));
        }
        catch (ArgumentException e)
        {
            throw new CheckpointException($"The file's '{prefix}{CheckpointSettings.Key}' cannot be used: {e.Message}", e);
        }

        model.TakeRates(file, prefix);
        return model;
    }

    // What takes a checkpoint over and cannot fail.
    internal Action PrepareLoad(SafetensorsFile file, string prefix, IReadOnlyCollection<string>? allow)
    {
        ArgumentNullException.ThrowIfNull(file);
        CheckpointSettings.Check(file, prefix, ConfigurationJson.Of(Configuration), allow, ConfigurationJson.InitialOfModel);
        CheckpointSettings.Check(file, prefix + LevelsPrefix, LevelSettings.Of(Levels.Levels), allow, known: false);
        return Levels.PrepareTensors(file, prefix + LevelsPrefix);
    }

    // Rates may have been changed since the model was made.
    internal void TakeRates(SafetensorsFile file, string prefix)
    {
        JsonArray? saved = CheckpointSettings.Read(file, prefix + LevelsPrefix)?[nameof(Levels)] as JsonArray;
        for (int i = 0; i < Levels.Levels.Count; i++)
        {
            if (saved?.ElementAtOrDefault(i) is JsonObject level && level[nameof(Level.LearningRate)] is JsonValue value
                && value.TryGetValue(out float rate))
                Levels.Levels[i].LearningRate = rate;
        }
    }

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
    /// <param name="cancellation">Asked before every token.</param>
    /// <exception cref="ArgumentException">The prompt is empty, the state is a batch, or a setting is out of its range.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token is not in the vocabulary, or fewer than 0 are asked for.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled; nothing changed.</exception>
    public int[] Generate(ReadOnlySpan<int> prompt, int count, Sampler? sampler = null, SequenceState? state = null,
        CancellationToken cancellation = default)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        sampler ??= new Sampler();
        sampler.Validate();
        RequireOne(state);
        SequenceState current = state?.Clone() ?? NewState();
        return Generate(current, prompt, count, [sampler], cancellation)[0];
    }

    /// <summary>
    /// Tokens that continue several prompts of one length, side by side: one pass over the weights makes a token of each.
    /// Sequence b draws with the sampler's seed + b, so that the first draws what it would draw alone.
    /// </summary>
    /// <param name="prompts">At least one, each of at least one token.</param>
    /// <param name="count">How many to draw for each.</param>
    /// <param name="sampler">How they are drawn; null is from the distribution as it is, with seed 0.</param>
    /// <param name="cancellation">Asked before every token.</param>
    /// <returns>For each prompt what continues it.</returns>
    /// <exception cref="ArgumentException">There is no prompt, one is empty, their lengths differ, or a setting is out of its
    /// range.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token is not in the vocabulary, or fewer than 0 are asked for.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled; nothing changed.</exception>
    public int[][] GenerateAll(IReadOnlyList<int[]> prompts, int count, Sampler? sampler = null, CancellationToken cancellation = default)
    {
        ArgumentNullException.ThrowIfNull(prompts);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        sampler ??= new Sampler();
        sampler.Validate();
        if (prompts.Count == 0)
            throw new ArgumentException("There is no prompt, expected one at least.", nameof(prompts));
        foreach (int[] prompt in prompts)
        {
            if (prompt.Length != prompts[0].Length)
                throw new ArgumentException($"A prompt has {prompt.Length} tokens, expected {prompts[0].Length} as the first has.",
                    nameof(prompts));
        }

        var samplers = new Sampler[prompts.Count];
        for (int b = 0; b < samplers.Length; b++)
            samplers[b] = sampler with { Seed = sampler.Seed + (ulong)b };
        return Generate(NewState(prompts.Count), [.. prompts.SelectMany(p => p)], count, samplers, cancellation);
    }

    /// <summary>The logits [V] of what follows some tokens.</summary>
    /// <param name="tokens">At least one.</param>
    /// <param name="state">What came before them, one sequence, only read; null is nothing.</param>
    /// <exception cref="ArgumentException">There are no tokens, or the state is a batch.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token is not in the vocabulary.</exception>
    public float[] NextLogits(ReadOnlySpan<int> tokens, SequenceState? state = null)
    {
        RequireOne(state);
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

    // The loss [1, T] of each byte given the ones before it, and the fast memory after them.
    internal (Variable Losses, SequenceState Next) PredictBytes(Tape tape, ReadOnlySpan<byte> text, int last, SequenceState state,
        Span<float> losses)
    {
        int[] tokens = new int[text.Length], targets = new int[text.Length];
        for (int t = 0; t < text.Length; t++)
        {
            tokens[t] = t == 0 ? last : text[t - 1];
            targets[t] = text[t];
        }

        IndexTensor input = tape.Keep(Device.FromIndices([1, tokens.Length], tokens));
        IndexTensor target = tape.Keep(Device.FromIndices([1, targets.Length], targets));
        (Variable logits, SequenceState next) = Forward(tape, input, state);
        Variable result = tape.CrossEntropy(logits, target);
        result.Value.CopyTo(losses);
        return (result, next);
    }

    // The loss of each byte of a text, in pieces of a segment at most. The state moves on to its end, its former one is disposed. Fast
    // memories that have diverged, so that a loss is not finite, begin again.
    internal void ScoreBytes(ReadOnlySpan<byte> text, int last, ref SequenceState state, Span<float> losses,
        CancellationToken cancellation = default)
    {
        while (!text.IsEmpty)
        {
            cancellation.ThrowIfCancellationRequested();
            int length = PieceOf(text, state);
            SequenceState next = ScorePiece(text[..length], last, state, losses[..length]);
            state.Dispose();
            state = next;
            last = text[length - 1];
            text = text[length..];
            losses = losses[length..];
        }
    }

    // The mean loss in nats a byte over a text from a fresh state.
    internal double MeanLoss(ReadOnlySpan<byte> text, CancellationToken cancellation = default)
    {
        SequenceState state = NewState();
        try
        {
            float[] losses = new float[Configuration.Levels[0].Chunk];
            double sum = 0;
            int count = text.Length, last = 0;
            while (!text.IsEmpty)
            {
                int length = PieceOf(text, state);
                ScoreBytes(text[..length], last, ref state, losses.AsSpan(0, length), cancellation);
                foreach (float loss in losses.AsSpan(0, length))
                    sum += loss;
                last = text[length - 1];
                text = text[length..];
            }

            return sum / count;
        }
        finally
        {
            state.Dispose();
        }
    }

    private int PieceOf(ReadOnlySpan<byte> text, SequenceState state) =>
        Math.Min(Math.Min(text.Length, Configuration.Levels[0].Chunk), StepsToContextEnd(state));

    private SequenceState ScorePiece(ReadOnlySpan<byte> text, int last, SequenceState state, Span<float> losses)
    {
        using var tape = new Tape(Device, recording: false);
        SequenceState next = PredictBytes(tape, text, last, state, losses).Next;
        if (state.ContextPosition == 0 || FirstNotFinite(losses) is null)
            return next;
        next.Dispose();
        using SequenceState start = NewState();
        return PredictBytes(tape, text, last, start, losses).Next;
    }

    internal static float? FirstNotFinite(ReadOnlySpan<float> losses)
    {
        foreach (float loss in losses)
        {
            if (!float.IsFinite(loss))
                return loss;
        }

        return null;
    }

    private static void RequireOne(SequenceState? state)
    {
        if (state is { Batch: not 1 })
            throw new ArgumentException($"The state holds {state.Batch} sequences, expected 1.", nameof(state));
    }

    // Continues prompts [B, T] after a state, which it disposes, a sampler for each.
    private int[][] Generate(SequenceState state, ReadOnlySpan<int> prompts, int count, Sampler[] samplers,
        CancellationToken cancellation)
    {
        try
        {
            int[][] drawn = Array.ConvertAll(samplers, _ => new int[count]);
            int[] newest = new int[samplers.Length];
            for (int i = 0; i < count; i++)
            {
                cancellation.ThrowIfCancellationRequested();
                ReadOnlySpan<float> logits = Last(ref state, i == 0 ? prompts : newest);
                for (int b = 0; b < newest.Length; b++)
                    drawn[b][i] = newest[b] = samplers[b]
                        .Draw(logits.Slice(b * Configuration.Vocabulary, Configuration.Vocabulary), (ulong)i);
            }

            return drawn;
        }
        finally
        {
            state.Dispose();
        }
    }

    // Reads tokens [B, T], context by context; the logits [B, V] after the last, and the state in place of the one before.
    private float[] Last(ref SequenceState state, ReadOnlySpan<int> tokens)
    {
        if (tokens.IsEmpty)
            throw new ArgumentException("There are no tokens, expected one at least.", nameof(tokens));
        int batch = state.Batch, time = tokens.Length / batch;
        for (int first = 0, count; ; first += count)
        {
            count = Math.Min(time - first, StepsToContextEnd(state));
            using IndexTensor input = Device.FromIndices([batch, count], Columns(tokens, batch, first, count));
            using var tape = new Tape(Device, recording: false);
            Variable embedding = tape.Use(_embedding);
            (Variable y, SequenceState next) = Transform(tape, tape.Embedding(input, embedding), state);
            state.Dispose();
            state = next;
            // Of the output layer only the last token is wanted.
            if (first + count == time)
                return tape.Linear(tape.Tokens(y, count - 1, 1), embedding, transposeWeight: true).Value.ToArray();
        }
    }

    // Some columns of tokens [B, T].
    private static ReadOnlySpan<int> Columns(ReadOnlySpan<int> tokens, int batch, int first, int count)
    {
        if (batch == 1)
            return tokens.Slice(first, count);
        int time = tokens.Length / batch;
        if (count == time)
            return tokens;
        int[] columns = new int[batch * count];
        for (int b = 0; b < batch; b++)
            tokens.Slice(b * time + first, count).CopyTo(columns.AsSpan(b * count));
        return columns;
    }
}
