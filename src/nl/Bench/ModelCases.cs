using NestedLearning.Models;

namespace NestedLearning.CommandLine.Bench;

/// <summary>
/// Whole models, as a user has them: a stream that is learned from, one that is only read, text that is generated, and a
/// Transformer that is trained.
/// <para>
/// Their floors count the multiply-adds of matrices, attention and memories, forward, and twice as many backward; norms,
/// activations and optimizers are left out. Weights of Hope at its default size, 1.8 MB, stay in the second or third cache
/// from call to call, so that its bytes count as none. Those of the Transformer do not: a token is decoded by
/// reading all of them, and the keys and values of the tokens before it.
/// </para>
/// </summary>
internal static class ModelCases
{
    // Tokens that one call decodes, and those that stand before them.
    private const int Decoded = 32, Prompt = 256;

    /// <summary>Every case at its size.</summary>
    public static IReadOnlyList<BenchCase> All { get; } = Of(ModelConfiguration.Hope, streams: 64, TransformerSize.Of25M, Prompt, Decoded);

    /// <summary>Every case on models of other sizes.</summary>
    /// <param name="hope">Of the streams.</param>
    /// <param name="streams">How many are decoded side by side.</param>
    /// <param name="transformer">Of training and decoding.</param>
    /// <param name="prompt">Tokens before the first one that the Transformer decodes.</param>
    /// <param name="decoded">Tokens that a call decodes.</param>
    internal static IReadOnlyList<BenchCase> Of(ModelConfiguration hope, int streams, TransformerSize transformer, int prompt, int decoded)
    {
        int segment = hope.Levels[0].Chunk, slowest = hope.Levels[^1].Chunk;
        string size = $"Hope of {hope.Blocks} blocks of {hope.Dim}, {hope.Levels.Count} levels";
        double weights = 4 * transformer.Matrices;
        return
        [
            new("hope-stream", $"learning from a stream, a byte after the other, {size}", 3 * HopeFlops(hope) * slowest, 0, t =>
                Read(t, hope, slowest, learns: true))
            {
                Tokens = slowest, Unit = "bytes", AlsoOnOneThread = true,
            },
            new("hope-read", $"predicting a stream without learning, in segments of {segment}, {size}", HopeFlops(hope) * slowest, 0, t =>
                Read(t, hope, slowest, learns: false))
            {
                Tokens = slowest, Unit = "bytes",
            },
            new("hope-decode", $"generating, 1 stream, {size}", HopeFlops(hope) * decoded, 0, t =>
                Generate(t, hope, 0, decoded)) { Tokens = decoded, Unit = "bytes" },
            new($"hope-decode-{streams}", $"generating, {streams} streams side by side, {size}", HopeFlops(hope) * decoded * streams, 0,
                t => Decode(t, hope, streams, decoded))
            {
                Tokens = decoded * streams, Unit = "bytes",
            },
            new(
                "train-25m", $"Transformer, forward, backward and AdamW, {transformer.Batch} × {transformer.Time} tokens, {transformer}",
                3 * (2 * transformer.Matrices * transformer.Batch * transformer.Time + transformer.AttentionFlops),
                28.0 * transformer.Matrices, t => Train(t, transformer))
            {
                Tokens = transformer.Batch * transformer.Time,
            },
            new(
                "decode-25m", $"generating after {prompt} tokens, 1 stream, Transformer, {transformer}",
                2 * transformer.Matrices * decoded, decoded * weights + Cache(transformer, prompt, decoded), t =>
                Generate(t, transformer.Configuration, prompt, decoded))
            {
                Tokens = decoded,
            },
        ];
    }

    /// <summary>The floating-point operations of a token forward: matrices, and every product of a token with a memory.</summary>
    private static double HopeFlops(ModelConfiguration c)
    {
        double dim = c.Dim, width = dim / c.Heads;
        // Input, query and output; five memories of D × (3 D + 2): x S, then k S, (k − v) S_c, kᵀ w and α S over all columns, q S.
        double columns = SelfModifyingSettings.StateColumns((int)width);
        double mixer = 2 * 3 * dim * dim + c.Heads * width * (2 * (2 * width + 2) + 7 * columns + 2 * width);
        double levels = c.Levels.Sum(l => 2 * 2 * dim * l.Hidden);
        return c.Blocks * (mixer + levels) + 2 * dim * c.Vocabulary;
    }

    // The keys and values that the decoded tokens read, in bytes.
    private static double Cache(TransformerSize size, int prompt, int decoded) =>
        sizeof(float) * 2.0 * size.Blocks * size.Dim * decoded * (prompt + (decoded + 1) / 2.0);

    private static Action Read(BenchTensors t, ModelConfiguration configuration, int length, bool learns)
    {
        StreamLearner learner = t.Own(StreamLearner.Create(t.Device, configuration, "bench"));
        learner.Learns = learns;
        byte[] text = Text(length);
        float[] losses = new float[learner.SegmentLength];
        return () =>
        {
            for (int first = 0; first < length; first += learner.SegmentLength)
            {
                int count = Math.Min(learner.SegmentLength, length - first);
                learner.Read(text.AsSpan(first, count), losses.AsSpan(0, count));
            }

            learner.Timeline.Clear();
        };
    }

    private static Action Generate(BenchTensors t, ModelConfiguration configuration, int prompt, int count)
    {
        var model = t.Own(new SequenceModel(t.Device, configuration));
        SequenceState before = t.Own(model.NewState());
        int[] first = [Text(1)[0] % configuration.Vocabulary];
        if (prompt > 0)
        {
            using var tape = new Tape(t.Device, recording: false);
            before = t.Own(model.Forward(tape, t.Below("prompt", [1, prompt], configuration.Vocabulary), before).Next);
        }

        return () => model.Generate(first, count, state: before);
    }

    private static Action Decode(BenchTensors t, ModelConfiguration configuration, int streams, int count)
    {
        var model = t.Own(new SequenceModel(t.Device, configuration));
        int[][] prompts = Array.ConvertAll(Text(streams), b => (int[])[b]);
        return () => model.GenerateAll(prompts, count);
    }

    private static Action Train(BenchTensors t, TransformerSize size)
    {
        var model = t.Own(new SequenceModel(t.Device, size.Configuration));
        Shape shape = [size.Batch, size.Time];
        IndexTensor tokens = t.Below("tokens", shape, size.Vocabulary), targets = t.Below("targets", shape, size.Vocabulary);
        Tensor loss = t.Zeros("loss", [1]);
        return () => loss.Fill((float)model.Learn(tokens, targets));
    }

    // Lower-case words: any text does.
    private static byte[] Text(int length)
    {
        var random = new CounterRandom(seed: 3);
        byte[] text = new byte[length];
        for (int i = 0; i < length; i++)
            text[i] = random.Below((ulong)i, 6) == 0 ? (byte)' ' : (byte)('a' + random.Below((ulong)(i + length), 26));
        return text;
    }
}
