using NestedLearning.Models.Continual;
using NestedLearning.Models.Learning;
using NestedLearning.Testing;
using Xunit;
using static NestedLearning.Models.Tests.Streams;

namespace NestedLearning.Models.Tests.Continual;

public abstract class StrategyTests(string backend) : BackendTests(backend)
{
    private static readonly ModelConfiguration s_small = new()
    {
        Dim = 16, Heads = 2, Blocks = 1, MemoryChunk = 8, ContextLength = 64, WarmupCommits = 4, ProjectionLevel = 0,
        Levels = [new("only", 16, 5e-3f, 24)],
    };

    private static readonly (string Name, Func<LearningStrategy> Create)[] s_strategies =
    [
        ("replay", () => new Replay(5, 1, 7)), ("ewc", () => new ElasticWeightConsolidation(10, 96, 0.5)),
        ("si", () => new SynapticIntelligence(1, 96)),
    ];

    public static TheoryData<string> Names => [.. s_strategies.Select(s => s.Name)];

    [Theory]
    [MemberData(nameof(Names))]
    public void Checkpoint_AndFork_ContinueToTheSameBits(string name)
    {
        byte[] text = Source(1, 600);
        // Before anything is remembered, and inside a segment and a period.
        foreach (int cut in (int[])[0, 333])
        {
            using StrategyLearner first = Create(name), second = Create(name);
            Read(first, text[..cut]);
            Read(second, text[..50]);
            SafetensorsFile file = new();
            first.Save(file, "x.");
            second.Load(file, "x.");
            using IStreamLearner fork = first.Fork("fork");
            float[] expected = Read(first, text[cut..]);
            Compare.SameBits("loaded", Read(second, text[cut..]), expected);
            Compare.SameBits("fork", Read(fork, text[cut..]), expected);
        }
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Strategy_ChangesWhatIsLearned_AndWithoutStrengthNothing(string name)
    {
        byte[] text = Source(1, 600);
        using StrategyLearner learner = Create(name), weak = StrategyLearner.Create(Device, s_small, name switch
        {
            "replay" => new Replay(5, 0, 7),
            "ewc" => new ElasticWeightConsolidation(0, 96),
            _ => new SynapticIntelligence(0, 96),
        }, "weak");
        using StreamLearner plain = StreamLearner.Create(Device, s_small, "plain");
        float[] expected = Read(plain, text);
        Compare.SameBits("without strength", Read(weak, text), expected);
        Assert.True(Compare.RelativeError(Read(learner, text), expected) > 1e-4, "The strategy changed nothing.");
    }

    [Fact]
    public void Reservoir_KeepsEverySegmentAlike()
    {
        // Over many reservoirs each of 40 segments is kept as often as another: 10 of 40, of 300 reservoirs 75, deviation 7.5.
        int[] kept = new int[40];
        using var model = new SequenceModel(Device, s_small with { Dim = 2, Heads = 1, Levels = [new("only", 1, 1e-3f, 1)] });
        for (ulong seed = 0; seed < 300; seed++)
        {
            using var replay = new Replay(10, 1, seed);
            for (byte i = 0; i < 40; i++)
                ((IErrorTerms)replay).Committed(model, [i, i], last: 7);
            Assert.Equal(10, replay.Kept.Count);
            foreach (byte[] segment in replay.Kept)
            {
                Assert.Equal([7, segment[1], segment[1]], segment);
                kept[segment[1]]++;
            }
        }

        Assert.All(kept, k => Assert.InRange(k, 75 - 38, 75 + 38));
    }

    [Fact]
    public void Replay_AddsTheGradientOfOldSegments()
    {
        // With one old segment of the length of the new ones, weight 1: the error terms of both together.
        byte[] old = Source(1, 16), text = Source(2, 16);
        using var replay = new Replay(1, 1, 3);
        using var model = new SequenceModel(Device, s_small);
        ((IErrorTerms)replay).Committed(model, old, last: 5);
        ((IErrorTerms)replay).Add(model, text, last: 9);
        float[][] actual = [.. model.Levels.Levels[0].Parameters.Select(p => p.Error.ToArray())];
        model.Levels.Drop();
        using (SequenceState state = model.NewState())
        using (var tape = new Tape(Device))
        {
            (Variable losses, SequenceState next) = model.PredictBytes(tape, old, 5, state, new float[16]);
            next.Dispose();
            using Tensor seed = Device.Full(losses.Shape, 1);
            tape.Backward(losses, seed);
        }

        for (int i = 0; i < actual.Length; i++)
            Compare.SameBits(model.Levels.Levels[0].Parameters[i].Name, actual[i], model.Levels.Levels[0].Parameters[i].Error.ToArray());
    }

    [Fact]
    public void ElasticPenalty_IsTheDistanceFromTheAnchorTimesTheMeanSquareOfGradients()
    {
        const double Strength = 3;
        const float Decay = 0.5f;
        using var ewc = new ElasticWeightConsolidation(Strength, 32, Decay);
        using var model = new SequenceModel(Device, s_small);
        ewc.Begin(model);
        Parameter parameter = model.Levels.Levels[0].Parameters[0];
        int count = parameter.Value.Count;
        double[] fisher = new double[count], gathered = new double[count], anchor = [];
        var data = new TestData(3);
        for (int chunk = 0; chunk < 6; chunk++)
        {
            float[] gradient = data.Normal(count);
            model.Levels.Learn(16, () =>
            {
                parameter.Error.CopyFrom(gradient);
                ((IErrorTerms)ewc).Add(model, new byte[16], 0);
                float[] value = parameter.Value.ToArray();
                Compare.Close($"error terms of chunk {chunk}", parameter.Error.ToArray(), [.. gradient.Select((g, i) =>
                    g + (anchor.Length == 0 ? 0 : 16 * Strength * fisher[i] * (value[i] - anchor[i])))], 1e-5);
            });
            ((IErrorTerms)ewc).Committed(model, new byte[16], 0);
            // F_new: the mean over two chunks of (g/16)², times 16.
            gathered = [.. gathered.Select((f, i) => f + gradient[i] / 16.0 * (gradient[i] / 16.0) / 2 * 16)];
            if (chunk % 2 == 0)
                continue;
            fisher = [.. fisher.Select((f, i) => Decay * f + gathered[i])];
            gathered = new double[count];
            anchor = Compare.ToDouble(parameter.Value.ToArray());
        }
    }

    [Fact]
    public void SynapticImportance_IsWhatMovesLoweredTheLoss()
    {
        const double Strength = 2, Damping = 0.01;
        using var si = new SynapticIntelligence(Strength, 32, Damping);
        using var model = new SequenceModel(Device, s_small);
        si.Begin(model);
        Parameter parameter = model.Levels.Levels[0].Parameters[0];
        int count = parameter.Value.Count;
        double[] importance = new double[count], gathered = new double[count], before = Compare.ToDouble(parameter.Value.ToArray());
        double[] anchor = before;
        var data = new TestData(3);
        for (int chunk = 0; chunk < 6; chunk++)
        {
            float[] gradient = data.Normal(count);
            model.Levels.Learn(16, () =>
            {
                parameter.Error.CopyFrom(gradient);
                ((IErrorTerms)si).Add(model, new byte[16], 0);
                float[] value = parameter.Value.ToArray();
                Compare.Close($"error terms of chunk {chunk}", parameter.Error.ToArray(), [.. gradient.Select((g, i) =>
                    g + 16 * Strength * importance[i] * (value[i] - anchor[i]))], 1e-4);
            });
            ((IErrorTerms)si).Committed(model, new byte[16], 0);
            double[] after = Compare.ToDouble(parameter.Value.ToArray());
            gathered = [.. gathered.Select((w, i) => w - gradient[i] / 16.0 * (after[i] - before[i]))];
            before = after;
            if (chunk % 2 == 0)
                continue;
            importance = [.. importance.Select((o, i) => o + Math.Max(0, gathered[i]) / (Math.Pow(after[i] - anchor[i], 2) + Damping))];
            gathered = new double[count];
            anchor = after;
        }
    }

    [Fact]
    public void Arguments_AreChecked()
    {
        foreach (Action wrong in (Action[])[() => _ = new Replay(0, 1, 1), () => _ = new Replay(1, -1, 1),
            () => _ = new Replay(1, float.NaN, 1), () => _ = new ElasticWeightConsolidation(-1, 1),
            () => _ = new ElasticWeightConsolidation(1, 0),
            () => _ = new ElasticWeightConsolidation(1, 1, 1.5), () => _ = new SynapticIntelligence(double.NaN, 1),
            () => _ = new SynapticIntelligence(1, 1, 0)])
            Assert.Throws<ArgumentOutOfRangeException>(wrong);
    }

    private StrategyLearner Create(string name) =>
        StrategyLearner.Create(Device, s_small, s_strategies.Single(s => s.Name == name).Create(), name);
}

public sealed class ManagedStrategyTests() : StrategyTests("managed");

public sealed class CpuStrategyTests() : StrategyTests("cpu");
