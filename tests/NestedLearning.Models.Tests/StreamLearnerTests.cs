using NestedLearning.Testing;
using Xunit;
using static NestedLearning.Models.Tests.Streams;

namespace NestedLearning.Models.Tests;

public abstract class StreamLearnerTests(string backend) : BackendTests(backend)
{
    private static readonly ModelConfiguration s_small = new()
    {
        Dim = 16, Heads = 2, Blocks = 2, MemoryChunk = 8, ContextLength = 64, WarmupCommits = 4, ProjectionLevel = 0,
        Levels = [new("fast", 16, 5e-3f, 24), new("slow", 64, 5e-3f, 24)],
    };

    [Fact]
    public void Stream_LossFallsOnAPattern()
    {
        using StreamLearner stream = StreamLearner.Create(Device, s_small, "hope");
        byte[] text = Pattern(6000);
        float[] losses = Read(stream, text);
        Assert.True(losses[..500].Average() > 3, $"The first losses are {losses[..500].Average()}.");
        Assert.True(losses[^500..].Average() < 0.3, $"The last losses are {losses[^500..].Average()}.");
    }

    [Fact]
    public void Checkpoint_ContinuesToTheSameBits()
    {
        byte[] text = Pattern(1000);
        using StreamLearner whole = StreamLearner.Create(Device, s_small, "a"), first = StreamLearner.Create(Device, s_small, "b"),
            second = StreamLearner.Create(Device, s_small, "c");
        float[] expected = Read(whole, text);
        // 333 is inside a segment, a context and every level's chunk.
        float[] begin = Read(first, text[..333]);
        Compare.SameBits("losses before", begin.AsSpan(0, 320), expected.AsSpan(0, 320));
        var file = new SafetensorsFile();
        first.Save(file, "x.");
        second.Load(file, "x.");
        Compare.SameBits("losses after", Read(second, text[333..]), Read(first, text[333..]));
        Assert.Equal(first.Timeline.Commits, second.Timeline.Commits);
        Assert.Equal(1000, second.Position);
    }

    [Fact]
    public void Load_ThatDoesNotFit_ChangesNothing()
    {
        using StreamLearner stream = StreamLearner.Create(Device, s_small, "a");
        byte[] text = Pattern(400);
        Read(stream, text[..200]);
        var before = new SafetensorsFile();
        stream.Save(before, "");
        using StreamLearner twin = (StreamLearner)stream.Fork("twin");
        foreach (string missing in before.Names)
        {
            var file = new SafetensorsFile();
            foreach ((string key, string value) in before.Metadata)
                file.Metadata[key] = value;
            foreach (string name in before.Names.Where(n => n != missing))
            {
                if (name is "levels.clock" or "levels.timeline" or "stream" or "state.context")
                    file.Add(name, before.Integers(name, before.ShapeOf(name).ElementCount));
                else
                    file.Add(name, before.ShapeOf(name), new float[before.ShapeOf(name).ElementCount]);
            }

            Assert.Contains($"'{missing}'", Assert.Throws<CheckpointException>(() => stream.Load(file, "")).Message,
                StringComparison.Ordinal);
        }

        Compare.SameBits("losses", Read(stream, text[200..]), Read(twin, text[200..]));
    }

    [Fact]
    public void LongCalls_AreCancelledInTheMiddle_AndChangeNothing()
    {
        using StreamLearner stream = StreamLearner.Create(Device, s_small, "stream");
        Read(stream, Pattern(40));
        byte[] before = Saved(), text = Pattern(1 << 22);
        foreach (Action<CancellationToken> call in (Action<CancellationToken>[])[
            c => stream.Evaluate(text, c), c => stream.Generate(1 << 22, cancellation: c)])
        {
            using var source = new CancellationTokenSource();
            int taken = 0;
            Device.Backend.Memory!.BeforeTake = () =>
            {
                if (++taken == 500)
                    source.Cancel();
            };
            Assert.Throws<OperationCanceledException>(() => call(source.Token));
            Device.Backend.Memory.BeforeTake = null;
            Assert.InRange(taken, 500, 5000);
            Assert.Equal(before, Saved());
        }

        byte[] Saved()
        {
            var file = new SafetensorsFile();
            stream.Save(file, "");
            return file.ToBytes();
        }
    }

    [Fact]
    public void Fork_IsIndependent()
    {
        using StreamLearner stream = StreamLearner.Create(Device, s_small, "a");
        Read(stream, Pattern(100));
        using IStreamLearner fork = stream.Fork("b");
        Assert.Empty(fork.Timeline.Commits);
        double before = fork.Evaluate(Pattern(50));
        Read(stream, Pattern(300));
        Assert.Equal(before, fork.Evaluate(Pattern(50)));
        Assert.Equal(100, fork.Position);
    }

    [Fact]
    public void Evaluate_ChangesNothing()
    {
        using StreamLearner stream = StreamLearner.Create(Device, s_small, "a");
        Read(stream, Pattern(100));
        using IStreamLearner twin = stream.Fork("b");
        stream.Evaluate(Pattern(150));
        Compare.SameBits("losses", Read(stream, Pattern(100)), Read(twin, Pattern(100)));
    }

    [Fact]
    public void Frozen_NeverCommits_AndStillRemembersWithinItsContext()
    {
        using StreamLearner stream = StreamLearner.Create(Device, s_small, "a");
        Read(stream, Pattern(256));
        using IStreamLearner frozen = stream.Fork("frozen");
        frozen.Learns = false;
        double before = frozen.Evaluate(Pattern(60));
        Read(frozen, Pattern(300));
        Assert.Equal(before, frozen.Evaluate(Pattern(60)));
        Assert.Empty(frozen.Timeline.Commits);
        Assert.Equal(556, frozen.Position);
    }

    [Fact]
    public void OneLevel_HasTheSameSizeUpToNorms()
    {
        using var hope = new SequenceModel(Device, s_small);
        using var one = new SequenceModel(Device, s_small.WithOneLevel());
        // One norm of D a block is all that a second MLP has more than a wider one.
        Assert.Equal(hope.ParameterCount - s_small.Blocks * s_small.Dim, one.ParameterCount);
        Assert.Single(one.Levels.Levels);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    public void ProjectionLevel_DecidesWhenAllButTheMlpsCommit(int projectionLevel)
    {
        ModelConfiguration configuration = s_small with { ProjectionLevel = projectionLevel };
        using StreamLearner stream = StreamLearner.Create(Device, configuration, "a");
        Dictionary<string, float[]> Values() => stream.Model.Levels.Levels.SelectMany(l => l.Parameters)
            .ToDictionary(p => p.Name, p => p.Value.ToArray());
        Dictionary<string, float[]> before = Values();
        foreach ((int length, bool slowToo) in ((int, bool)[])[(16, false), (48, true)])
        {
            Read(stream, Pattern(length));
            foreach ((string name, float[] value) in Values())
            {
                int level = name.Contains(".memory.1.", StringComparison.Ordinal) ? 1
                    : name.Contains(".memory.0.", StringComparison.Ordinal) ? 0 : projectionLevel;
                Assert.Equal(level == 0 || slowToo, !value.AsSpan().SequenceEqual(before[name]));
            }
        }
    }

    [Fact]
    public void Levels_AreMadeAsConfigured()
    {
        ModelConfiguration configuration = s_small with
        {
            WarmupCommits = 7,
            ClipNorm = 0.25,
            WeightDecay = 0.125f,
            Beta2 = 0.875f,
            Levels = [new("fast", 16, 5e-3f, 24), new("slow", 64, 2e-3f, 24) { Optimizer = new Momentum() }],
        };
        using var model = new SequenceModel(Device, configuration);
        Assert.All(model.Levels.Levels, l => Assert.Equal((ErrorReduction.Mean, 0.25, 7), (l.Reduction, l.ClipNorm, l.WarmupCommits)));
        Assert.Equal([(16, 5e-3f), (64, 2e-3f)], model.Levels.Levels.Select(l => (l.Chunk, l.LearningRate)));
        Adam adam = Assert.IsType<Adam>(model.Levels.Levels[0].Optimizer);
        Assert.Equal((0.125f, 0.875f), (adam.WeightDecay, adam.Beta2));
        Assert.IsType<Momentum>(model.Levels.Levels[1].Optimizer);
    }

    [Fact]
    public void Threads_DoNotChangeBits()
    {
        ModelConfiguration wide = s_small with
        {
            Dim = 64,
            Heads = 4,
            Levels = [new("fast", 64, 5e-3f, 128), new("slow", 128, 5e-3f, 128)],
        };
        SameBitsForAnyThreads(() =>
        {
            using StreamLearner stream = StreamLearner.Create(Device, wide, "a");
            return [("losses", Read(stream, Pattern(512)))];
        });
    }

    [Fact]
    public void AWeightThatIsNotANumber_StopsTheStreamAsItWas()
    {
        using StreamLearner stream = StreamLearner.Create(Device, s_small, "a");
        Read(stream, Pattern(32));
        var file = new SafetensorsFile();
        stream.Save(file, "");
        SafetensorsFile broken = Changed(file, "levels.value.final_norm", (_, values) => [float.NaN, .. values.Skip(1)]);
        stream.Load(broken, "");
        NotFiniteNumberException e = Assert.Throws<NotFiniteNumberException>(() => Read(stream, Pattern(16)));
        Assert.Contains("byte 32", e.Message, StringComparison.Ordinal);
        Assert.Equal(32, stream.Position);
        stream.Load(file, "");
        Read(stream, Pattern(16));
        Assert.Equal(48, stream.Position);
    }

    [Fact]
    public void FastMemoryThatDiverged_ReturnsToItsStart_AndIsCounted()
    {
        using StreamLearner stream = StreamLearner.Create(Device, s_small, "a"), fresh = StreamLearner.Create(Device, s_small, "b");
        // Nothing commits yet, so that the start is that of a new stream.
        Read(stream, Pattern(8));
        SafetensorsFile before = new(), atStart = new();
        stream.Save(before, "");
        fresh.Save(atStart, "");
        stream.Load(Changed(before, "state.", (name, values) => name.EndsWith("memory", StringComparison.Ordinal)
            ? Array.ConvertAll(values, _ => float.PositiveInfinity) : values), "");
        fresh.Load(Changed(before, "state.", (_, values) => values, atStart), "");
        byte[] text = Pattern(40);
        Compare.SameBits("losses", Read(stream, text), Read(fresh, text));
        Assert.Equal((1, 0, 48), (stream.Restarts, fresh.Restarts, stream.Position));
        var after = new SafetensorsFile();
        stream.Save(after, "");
        fresh.Load(after, "");
        Assert.Equal(1, fresh.Restarts);
    }

    // A file with other values of the tensors whose names begin so, or with those that another file has, if one is given.
    private static SafetensorsFile Changed(SafetensorsFile file, string prefix, Func<string, float[], float[]> values,
        SafetensorsFile? other = null)
    {
        var changed = new SafetensorsFile();
        foreach ((string key, string value) in file.Metadata)
            changed.Metadata[key] = value;
        foreach (string name in file.Names)
        {
            bool isOther = name.StartsWith(prefix, StringComparison.Ordinal);
            SafetensorsFile from = isOther ? other ?? file : file;
            if (!from.Contains(name))
                continue;
            if (from.HoldsFloats(name))
                changed.Add(name, from.ShapeOf(name), isOther ? values(name, from.Floats(name).ToArray()) : from.Floats(name));
            else
                changed.Add(name, from.Integers(name, from.ShapeOf(name).ElementCount));
        }

        return changed;
    }

    [Fact]
    public void Arguments_AreChecked()
    {
        using StreamLearner stream = StreamLearner.Create(Device, s_small, "a");
        Assert.Throws<ArgumentException>(() => stream.Read([], []));
        Assert.Throws<ArgumentException>(() => stream.Read(new byte[17], new float[17]));
        Assert.Throws<ArgumentException>(() => stream.Read(new byte[4], new float[3]));
        Assert.Throws<ArgumentException>(() => stream.Evaluate([]));
        Assert.Throws<ArgumentException>(() => StreamLearner.Create(Device, s_small with { Heads = 3 }, "a"));
        Assert.Throws<ArgumentException>(() => StreamLearner.Create(Device, s_small with { Vocabulary = 100 }, "a"));
        Assert.Throws<ArgumentException>(() =>
            StreamLearner.Create(Device, s_small with { Levels = [new("a", 16, 1, 8), new("b", 24, 1, 8)] }, "a"));
        using var model = new SequenceModel(Device, s_small);
        using SequenceState state = model.NewState();
        using IndexTensor tooLong = Device.FromIndices([1, 65], new int[65]);
        using var tape = new Tape(Device);
        Assert.Throws<ArgumentException>(() => model.Forward(tape, tooLong, state));
    }
}

public sealed class ManagedStreamLearnerTests() : StreamLearnerTests("managed");

public sealed class CpuStreamLearnerTests() : StreamLearnerTests("cpu");
