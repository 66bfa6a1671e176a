using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Models.Tests;

public abstract class SequenceModelTests(string backend) : BackendTests(backend)
{
    public static TheoryData<string> Models => StreamingTests.Models;

    [Theory]
    [MemberData(nameof(Models))]
    public void Logits_MatchTheModelTokenByTokenInDouble(string name)
    {
        // 37 tokens: more than four segments, the last of them begun.
        foreach (ModelConfiguration configuration in (ModelConfiguration[])
            [StreamingTests.Small(name), StreamingTests.Small(name) with { Dim = 10, RotaryBase = 0, PersistentTokens = 0 }])
        {
            using var model = new SequenceModel(Device, configuration);
            int[] tokens = new TestData(1).Below(37, configuration.Vocabulary);
            Compare.Close(name, Logits(model, tokens), new ReferenceModel(model).Logits(tokens), 2e-5);
        }
    }

    [Fact]
    public void Transformer_IsAContinuumOfOneLevelWhoseChunkIsTheWholeRun()
    {
        const int Steps = 5;
        ModelConfiguration configuration = StreamingTests.Small("transformer") with { Levels = [new("only", Steps, 0.05f, 10)] };
        Assert.Equal((TokenMixer.Attention, false), (configuration.Mixer, configuration.Convolution));
        using var model = new SequenceModel(Device, configuration);
        int[] probe = new TestData(2).Below(20, configuration.Vocabulary);
        double[] transformer = new ReferenceModel(model).Logits(probe);
        for (int step = 1; step <= Steps; step++)
        {
            // All through the run it is the same Transformer; the end of the run, one chunk, is its one update.
            Compare.Close($"logits before step {step}", Logits(model, probe), transformer, 2e-5);
            Learn(model, step);
            Assert.Equal(step == Steps ? 1 : 0, model.Levels.Levels[0].Commits);
        }

        double[] updated = new ReferenceModel(model).Logits(probe);
        Assert.True(Compare.RelativeError(updated, transformer) > 1e-2, "The end of the run changed nothing.");
        Compare.Close("logits after the run", Logits(model, probe), updated, 2e-5);
    }

    [Fact]
    public void Learn_CommitsEachLevelEveryChunkOfSteps_AndLossFalls()
    {
        ModelConfiguration configuration = StreamingTests.Small("hope-attention") with
        {
            WarmupCommits = 0,
            Levels = [new("every step", 1, 1e-2f, 10), new("every fourth", 4, 1e-2f, 10)],
        };
        using var model = new SequenceModel(Device, configuration);
        double first = Learn(model, 3), last = 0;
        for (int step = 1; step < 40; step++)
            last = Learn(model, 3);
        Assert.True(last < 0.2 * first, $"The loss went from {first} to {last}.");
        Assert.Equal([40, 10], model.Levels.Levels.Select(l => l.Commits));
        Assert.Equal(40, model.Levels.Step);
    }

    public static TheoryData<string, float> Optimizers => new()
    {
        { "adamw", 1e-2f }, { "gradient-descent", 0.5f }, { "momentum", 0.1f }, { "adagrad", 0.05f }, { "delta-gradient-descent", 0.5f },
        { "delta-momentum", 0.05f }, { "muon", 1e-2f }, { "m3", 5e-3f },
    };

    [Theory]
    [MemberData(nameof(Optimizers))]
    public void Learn_WithAnyOptimizer_LowersTheLoss(string name, float learningRate)
    {
        Assert.Equal(NamedOptimizers.Names, Optimizers.Select(o => o.Data.Item1));
        ModelConfiguration configuration = StreamingTests.Small("hope-attention") with
        {
            WarmupCommits = 0,
            Levels = [new("only", 1, learningRate, 10) { Optimizer = NamedOptimizers.Create(name) }],
        };
        using var model = new SequenceModel(Device, configuration);
        double first = Learn(model, 3), last = 0;
        for (int step = 1; step < 60; step++)
            last = Learn(model, 3);
        Assert.True(last < 0.7 * first, $"The loss went from {first} to {last}.");
    }

    [Fact]
    public void Learn_CountsOnlyTargetsThatAreAsked()
    {
        using var model = new SequenceModel(Device, StreamingTests.Small("deltanet"));
        int[] tokens = new TestData(4).Below(12, 11);
        using IndexTensor input = Device.FromIndices([1, 12], tokens),
            last = Device.FromIndices([1, 12], [.. Enumerable.Repeat(-1, 11), 7]);
        float[] logits = Logits(model, tokens)[^11..];
        double expected = Math.Log(logits.Sum(l => Math.Exp(l))) - logits[7];
        Assert.Equal(expected, model.Learn(input, last), 1e-5);
    }

    [Fact]
    public void Learn_RefusesWhatItCannotLearnFrom()
    {
        using var model = new SequenceModel(Device, StreamingTests.Small("deltanet"));
        using IndexTensor tokens = Device.FromIndices([1, 2], [1, 2]), none = Device.FromIndices([1, 2], [-1, -1]),
            outside = Device.FromIndices([1, 2], [1, 11]), flat = Device.FromIndices([2], [1, 2]);
        Assert.Throws<ArgumentException>(() => model.Learn(tokens, none));
        Assert.Throws<ArgumentException>(() => model.Learn(flat, flat));
        Assert.Throws<ArgumentOutOfRangeException>(() => model.Learn(tokens, outside));
        Assert.Equal(0, model.Levels.Step);
        Assert.All(model.Levels.Levels[0].Parameters, p => Assert.All(p.Error.ToArray(), e => Assert.Equal(0, e)));
    }

    [Fact]
    public void Generate_ContinuesWhatWasLearned_AcrossContexts()
    {
        ModelConfiguration configuration = StreamingTests.Small("transformer") with
        {
            WarmupCommits = 0,
            ContextLength = 16,
            Levels = [new("only", 1, 1e-2f, 10)],
        };
        using var model = new SequenceModel(Device, configuration);
        using IndexTensor tokens = Device.FromIndices([1, 16], [.. Enumerable.Range(0, 16).Select(t => t % 11)]),
            targets = Device.FromIndices([1, 16], [.. Enumerable.Range(1, 16).Select(t => t % 11)]);
        for (int step = 0; step < 150; step++)
            model.Learn(tokens, targets);
        int[] prompt = [.. Enumerable.Range(0, 20).Select(t => t % 11)];
        int[] expected = [.. Enumerable.Range(20, 8).Select(t => t % 11)];
        Assert.Equal(expected, model.Generate(prompt, 8, new Sampler { Temperature = 0 }));

        // A carried state and the rest of the prompt are the whole prompt.
        using SequenceState start = model.NewState();
        using IndexTensor head = Device.FromIndices([1, 5], prompt.AsSpan(0, 5));
        using var tape = new Tape(Device, recording: false);
        (_, SequenceState state) = model.Forward(tape, head, start);
        using (state)
        {
            Assert.Equal(expected, model.Generate(prompt.AsSpan(5), 8, new Sampler { Temperature = 0 }, state));
            Assert.Equal(5, state.ContextPosition);
            Compare.Close("next", model.NextLogits(prompt.AsSpan(5), state), model.NextLogits(prompt), 2e-5);
        }

        Assert.Empty(model.Generate(prompt, 0));
        Assert.Throws<ArgumentException>(() => model.Generate([], 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => model.Generate([11], 1));
        using SequenceState two = model.NewState(2);
        Assert.Throws<ArgumentException>(() => model.Generate(prompt, 1, null, two));
    }

    [Theory]
    [InlineData("hope")]
    [InlineData("transformer")]
    public void GenerateAll_DrawsForEachPromptWhatItWouldDrawAlone(string name)
    {
        // Prompt and drawn tokens run over the end of a context of 16.
        using var model = new SequenceModel(Device, StreamingTests.Small(name) with { ContextLength = 16, MemoryChunk = 4 });
        int[][] prompts = [[1, 2, 3, 4, 5], [9, 8, 7, 6, 5], [0, 0, 1, 0, 10]];
        foreach (Sampler sampler in (Sampler[])[new Sampler { Temperature = 0 }, new Sampler { Seed = 3 }])
        {
            int[][] drawn = model.GenerateAll(prompts, 20, sampler);
            for (int b = 0; b < prompts.Length; b++)
                Assert.Equal(model.Generate(prompts[b], 20, sampler with { Seed = sampler.Seed + (ulong)b }), drawn[b]);
        }

        Assert.All(model.GenerateAll([[1], [2]], 0), drawn => Assert.Empty(drawn));
        Assert.Contains("no prompt", Assert.Throws<ArgumentException>(() => model.GenerateAll([], 1)).Message, StringComparison.Ordinal);
        Assert.Contains("has 1 tokens, expected 2", Assert.Throws<ArgumentException>(() => model.GenerateAll([[1, 2], [1]], 1)).Message,
            StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => model.GenerateAll([[], []], 1));
        Assert.Throws<ArgumentOutOfRangeException>(() => model.GenerateAll([[1], [11]], 1));
    }

    [Fact]
    public void Stream_TellsTheNextByte_AndGenerates_WithoutChange()
    {
        using StreamLearner stream = StreamLearner.Create(Device, StreamingTests.Small("hope-attention") with { Vocabulary = 256 }, "a");
        stream.Read("abcabcabc"u8, new float[9]);
        using IStreamLearner twin = stream.Fork("b");
        double[] next = stream.NextByte();
        Assert.Equal((256, 1), (next.Length, Math.Round(next.Sum(), 12)));
        Assert.Equal(stream.Generate(5, new Sampler { Seed = 4 }), stream.Generate(5, new Sampler { Seed = 4 }));
        Assert.Equal(Array.IndexOf(next, next.Max()), stream.Generate(1, new Sampler { Temperature = 0 })[0]);
        float[] expected = new float[3], actual = new float[3];
        twin.Read("abc"u8, expected);
        stream.Read("abc"u8, actual);
        Compare.SameBits("losses", actual, expected);
    }

    private float[] Logits(SequenceModel model, int[] tokens)
    {
        using SequenceState state = model.NewState();
        using IndexTensor input = Device.FromIndices([1, tokens.Length], tokens);
        using var tape = new Tape(Device, recording: false);
        (Variable logits, SequenceState next) = model.Forward(tape, input, state);
        next.Dispose();
        return logits.Value.ToArray();
    }

    private double Learn(SequenceModel model, int seed)
    {
        int[] text = new TestData((ulong)seed).Below(2 * 9, model.Configuration.Vocabulary);
        using IndexTensor tokens = Device.FromIndices([2, 8], [.. text[..8], .. text[9..17]]),
            targets = Device.FromIndices([2, 8], [.. text[1..9], .. text[10..18]]);
        return model.Learn(tokens, targets);
    }
}

public sealed class ManagedSequenceModelTests() : SequenceModelTests("managed");

public sealed class CpuSequenceModelTests() : SequenceModelTests("cpu");
