using NestedLearning.Models.Learning;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Models.Tests.Learning;

/// <summary>
/// The outer gradient against finite differences of the float64 reference. A whole episode is one reference scan: support
/// tokens that write, then query tokens. Second order differentiates all of it; first order only the part behind the
/// support, with the adapted memories moved by what moves their starts.
/// </summary>
public abstract class MetaGradientTests(string backend) : BackendTests(backend)
{
    private const int Support = 6;
    private const int Time = 9;
    private const int Batch = 3;
    private const int Heads = 2;

    [Theory]
    [InlineData(ScanWrite.Given, MetaGradient.SecondOrder)]
    [InlineData(ScanWrite.Given, MetaGradient.FirstOrder)]
    [InlineData(ScanWrite.FrozenL2, MetaGradient.SecondOrder)]
    [InlineData(ScanWrite.FrozenL2, MetaGradient.FirstOrder)]
    public void Scan_MatchesFiniteDifferences(ScanWrite write, MetaGradient order)
    {
        var episode = ScanEpisode.Create(write);
        using var learner = new ScanLearner(Device, episode);
        var trainer = new EpisodicTrainer<ScanEpisode>(learner) { Order = order };
        double loss = trainer.AddGradient(episode);
        Assert.Equal(episode.Loss(), loss, 1e-4);
        (double[] projection, double[] start, double[] momentum) = episode.Gradient(order);
        Compare.Close("dW", learner.Projection.Error, projection, Tolerances.Scan.Gradient);
        Compare.Close("dS0", learner.Start.Error, start, Tolerances.Scan.Gradient);
        Compare.Close("dP0", learner.MomentumStart.Error, momentum, Tolerances.Scan.Gradient);
    }

    [Theory]
    [InlineData(ScanWrite.Given)]
    [InlineData(ScanWrite.FrozenL2)]
    public void Scan_FirstOrderIsAnotherGradient(ScanWrite write)
    {
        var episode = ScanEpisode.Create(write);
        (double[] projection, double[] start, _) = episode.Gradient(MetaGradient.SecondOrder);
        (double[] projection1, double[] start1, _) = episode.Gradient(MetaGradient.FirstOrder);
        Assert.True(Compare.RelativeError(projection1, projection) > 0.1);
        Assert.True(Compare.RelativeError(start1, start) > 0.1);
    }

    [Theory]
    [InlineData(MemoryObjective.L2, MetaGradient.SecondOrder)]
    [InlineData(MemoryObjective.L2, MetaGradient.FirstOrder)]
    [InlineData(MemoryObjective.DotProduct, MetaGradient.SecondOrder)]
    [InlineData(MemoryObjective.DotProduct, MetaGradient.FirstOrder)]
    public void SelfModifying_MatchesFiniteDifferences(MemoryObjective objective, MetaGradient order)
    {
        var episode = new SelfModifyingEpisode(objective);
        using var learner = new SelfModifyingLearner(Device, episode);
        new EpisodicTrainer<SelfModifyingEpisode>(learner) { Order = order }.AddGradient(episode);
        Compare.Close("dS0", learner.Start.Error, episode.Gradient(order), Tolerances.SelfModifying.Gradient);
        double difference = Compare.RelativeError(episode.Gradient(MetaGradient.FirstOrder), episode.Gradient(MetaGradient.SecondOrder));
        Assert.True(difference > 0.1, $"First order differs from second by {difference} only.");
    }

    [Fact]
    public void AddGradient_AddsToWaitingErrorTerms_AndStepCommitsTheirMean()
    {
        ScanEpisode a = ScanEpisode.Create(ScanWrite.Given, 1), b = ScanEpisode.Create(ScanWrite.Given, 2);
        float[] first = Error(a), second = Error(b);
        using var learner = new ScanLearner(Device, a, chunk: 2);
        float[] before = learner.Start.Value.ToArray();
        var trainer = new EpisodicTrainer<ScanEpisode>(learner);
        trainer.Step(a);
        Compare.SameBits("start before its commit", learner.Start.Value.ToArray(), before);
        trainer.Step(b);
        double[] expected = [.. before.Select((x, i) => x - (double)ScanLearner.LearningRate * (first[i] + second[i]) / 2)];
        Compare.Close("start", learner.Start.Value, expected, 1e-6);

        float[] Error(ScanEpisode episode)
        {
            using var alone = new ScanLearner(Device, a);
            new EpisodicTrainer<ScanEpisode>(alone).AddGradient(episode);
            return alone.Start.Error.ToArray();
        }
    }

    [Fact]
    public void EveryEpisode_BeginsAtTheStarts()
    {
        ScanEpisode a = ScanEpisode.Create(ScanWrite.Given, 1), b = ScanEpisode.Create(ScanWrite.Given, 2);
        using var learner = new ScanLearner(Device, a);
        var trainer = new EpisodicTrainer<ScanEpisode>(learner);
        double alone = trainer.Evaluate(a);
        trainer.Evaluate(b);
        Assert.Equal(alone, trainer.Evaluate(a));
        Assert.All(learner.Start.Error.ToArray(), e => Assert.Equal(0, e));
    }

    [Fact]
    public void ALossThatIsNotANumber_ChangesNothing()
    {
        var episode = ScanEpisode.Create(ScanWrite.Given);
        using var learner = new ScanLearner(Device, episode);
        float[] before = learner.Start.Value.ToArray();
        episode.Targets[0] = double.NaN;
        Assert.Throws<NotFiniteNumberException>(() => new EpisodicTrainer<ScanEpisode>(learner).Step(episode));
        Compare.SameBits("start", learner.Start.Value.ToArray(), before);
        Assert.All(learner.Start.Error.ToArray(), e => Assert.Equal(0, e));
        Assert.Equal(0, learner.Levels.Step);
    }

    /// <summary>Tasks for a scan whose keys and queries are x W; the query tokens write nothing.</summary>
    private sealed class ScanEpisode
    {
        public const int Input = 4;
        private const int Key = 3;
        private const int Value = 2;

        public required ScanCase Whole { get; init; }

        public required double[] X { get; init; }

        public required double[] Projection { get; init; }

        public required double[] Start { get; init; }

        public required double[] MomentumStart { get; init; }

        public required double[] Targets { get; init; }

        public static ScanEpisode Create(ScanWrite write, ulong seed = 5)
        {
            var data = new TestData(seed);
            var settings = new ScanSettings(0.8f, ScanRead.Before, write, 3);
            ScanCase whole = ScanCase.Create(seed, [Batch, Time, Heads, Key, Value], settings, "aem", initial: false);
            foreach ((double[]? values, int width) in ((double[]?, int)[])[(whole.U, Heads * Value), (whole.Erase, Heads),
                (whole.Theta, Heads)])
            {
                for (int i = 0; i < (values?.Length ?? 0); i++)
                {
                    if (i / width % Time >= Support)
                        values![i] = 0;
                }
            }

            return new ScanEpisode
            {
                Whole = whole,
                X = Compare.ToDouble(data.Normal([Batch, Time, Input])),
                Projection = Compare.ToDouble(data.Normal([Input, Heads * Key], 0.4f)),
                Start = Compare.ToDouble(data.Normal([Heads, Key, Value])),
                MomentumStart = Compare.ToDouble(data.Normal([Heads, Key, Value], 0.5f)),
                Targets = Compare.ToDouble(data.Normal([Batch, Time - Support, Heads, Value])),
            };
        }

        public Shape InputShape(int time) => [Batch, time, Input];

        public Shape ProjectionShape => [Input, Heads * Key];

        public Shape StartShape => [Heads, Key, Value];

        public double Loss() => Queries(Adapted());

        public (double[] Projection, double[] Start, double[] Momentum) Gradient(MetaGradient order)
        {
            if (order == MetaGradient.SecondOrder)
                return (FiniteDifferences.Gradient(Loss, Projection), FiniteDifferences.Gradient(Loss, Start),
                    FiniteDifferences.Gradient(Loss, MomentumStart));
            (double[] s, double[] p) = Adapted();
            double[] ds = new double[Start.Length], dp = new double[Start.Length];
            double Moved() => Queries(([.. s.Select((e, i) => e + ds[i % ds.Length])], [.. p.Select((e, i) => e + dp[i % dp.Length])]));
            return (FiniteDifferences.Gradient(Moved, Projection), FiniteDifferences.Gradient(Moved, ds),
                FiniteDifferences.Gradient(Moved, dp));
        }

        // Keys and queries are the same rows x W.
        private double[] Keys()
        {
            double[] keys = new double[Batch * Time * Heads * Key];
            for (int i = 0; i < keys.Length; i++)
            {
                for (int j = 0; j < Input; j++)
                    keys[i] += X[i / (Heads * Key) * Input + j] * Projection[j * Heads * Key + i % (Heads * Key)];
            }

            return keys;
        }

        private (double[] S, double[] P) Adapted()
        {
            ScanResult result = ReferenceScan.Forward(Part(0, Support, Repeat(Start), Repeat(MomentumStart)));
            return (result.S, result.P);
        }

        private double Queries((double[] S, double[] P) memory)
        {
            double[] o = ReferenceScan.Forward(Part(Support, Time, memory.S, memory.P)).O;
            return o.Zip(Targets, (a, b) => (a - b) * (a - b)).Average();
        }

        private ScanCase Part(int start, int end, double[] s, double[] p) => new ScanCase
        {
            Batch = Batch, Time = Time, Heads = Heads, KeyDim = Key, ValueDim = Value, Settings = Whole.Settings,
            Q = Keys(), K = Keys(), U = Whole.U, LogAlpha = Whole.LogAlpha, Erase = Whole.Erase, Mu = Whole.Mu, Theta = Whole.Theta,
        }.Slice(start, end, s, p);

        private static double[] Repeat(double[] start) => [.. Enumerable.Repeat(start, Batch).SelectMany(s => s)];
    }

    private sealed class ScanLearner : MemoryLearner<ScanEpisode>, IDisposable
    {
        public const float LearningRate = 0.25f;

        public ScanLearner(Device device, ScanEpisode episode, int chunk = 1)
        {
            Device = device;
            Projection = new Parameter("projection", device.From(episode.ProjectionShape, Floats(episode.Projection)));
            Start = new Parameter("start", device.From(episode.StartShape, Floats(episode.Start)));
            MomentumStart = new Parameter("momentum_start", device.From(episode.StartShape, Floats(episode.MomentumStart)));
            Levels = new LevelSystem(new Level("outer", chunk, LearningRate, new GradientDescent(), [Projection, Start, MomentumStart])
            {
                Reduction = ErrorReduction.Mean,
            });
        }

        public Parameter Projection { get; }

        public Parameter Start { get; }

        public Parameter MomentumStart { get; }

        public override Device Device { get; }

        public override LevelSystem Levels { get; }

        protected override IReadOnlyList<Parameter> Starts => [Start, MomentumStart];

        protected override int Batch(ScanEpisode episode) => MetaGradientTests.Batch;

        protected override IReadOnlyList<Variable> Adapt(Tape tape, ScanEpisode episode, IReadOnlyList<Variable> memories)
        {
            ScanResults results = Read(tape, episode, 0, Support, memories);
            return [results.S, results.P!];
        }

        protected override Variable QueryLoss(Tape tape, ScanEpisode episode, IReadOnlyList<Variable> memories)
        {
            Variable o = Read(tape, episode, Support, Time, memories).O;
            return tape.MeanSquaredError(o, tape.Keep(Device.From(o.Shape, Floats(episode.Targets))));
        }

        private ScanResults Read(Tape tape, ScanEpisode episode, int start, int end, IReadOnlyList<Variable> memories)
        {
            ScanCase c = episode.Whole.Slice(start, end, null, null);
            Variable x =
                tape.Input(tape.Keep(Device.From(episode.InputShape(end - start),
                    Floats(ScanCase.SliceTime(episode.X, MetaGradientTests.Batch, ScanEpisode.Input, start, end)))));
            Variable keys = tape.Reshape(tape.Linear(x, tape.Use(Projection)), c.KeyShape);
            return tape.Scan(
                new ScanVariables(keys, keys, Data(c.U, c.ValueShape)!, Data(c.LogAlpha, c.GateShape), Data(c.Erase, c.GateShape),
                    Data(c.Mu, c.GateShape), Data(c.Theta, c.GateShape), memories[0], memories[1]),
                c.Settings);

            Variable? Data(double[]? values, Shape shape) =>
                values is null ? null : tape.Input(tape.Keep(Device.From(shape, Floats(values))));
        }

        public void Dispose() => Levels.Dispose();
    }

    /// <summary>Sequences for self-modifying memories, which write at query tokens as well.</summary>
    private sealed class SelfModifyingEpisode
    {
        private const int Dim = 3;

        public SelfModifyingEpisode(MemoryObjective objective)
        {
            var settings = new SelfModifyingSettings(3, objective, ScanRead.Before, 0.5f, 0.2f, 2.5f);
            Whole = SelfModifyingCase.Create(8, [Batch, Time, Heads, Dim], settings);
            var data = new TestData(9);
            Start = Compare.ToDouble(data.Normal([Heads, Dim, Whole.Columns], 0.6f));
            Targets = Compare.ToDouble(data.Normal([Batch, Time - Support, Heads, Dim]));
        }

        public SelfModifyingCase Whole { get; }

        public double[] Start { get; }

        public double[] Targets { get; }

        public double[] Gradient(MetaGradient order)
        {
            if (order == MetaGradient.SecondOrder)
                return FiniteDifferences.Gradient(() => Queries(Adapted()), Start);
            double[] s = Adapted(), ds = new double[Start.Length];
            return FiniteDifferences.Gradient(() => Queries([.. s.Select((e, i) => e + ds[i % ds.Length])]), ds);
        }

        private double[] Adapted() =>
            ReferenceSelfModifying.Forward(Whole.Slice(0, Support, [.. Enumerable.Repeat(Start, Batch).SelectMany(s => s)])).S;

        private double Queries(double[] memory) =>
            ReferenceSelfModifying.Forward(Whole.Slice(Support, Time, memory)).O.Zip(Targets, (a, b) => (a - b) * (a - b)).Average();
    }

    private sealed class SelfModifyingLearner : MemoryLearner<SelfModifyingEpisode>, IDisposable
    {
        public SelfModifyingLearner(Device device, SelfModifyingEpisode episode)
        {
            Device = device;
            Start = new Parameter("start", device.From([Heads, episode.Whole.Dim, episode.Whole.Columns], Floats(episode.Start)));
            Levels = new LevelSystem(new Level("outer", 1, 0.1f, new GradientDescent(), [Start]));
        }

        public Parameter Start { get; }

        public override Device Device { get; }

        public override LevelSystem Levels { get; }

        protected override IReadOnlyList<Parameter> Starts => [Start];

        protected override int Batch(SelfModifyingEpisode episode) => MetaGradientTests.Batch;

        protected override IReadOnlyList<Variable> Adapt(Tape tape, SelfModifyingEpisode episode, IReadOnlyList<Variable> memories) =>
            [Read(tape, episode, 0, Support, memories[0]).S];

        protected override Variable QueryLoss(Tape tape, SelfModifyingEpisode episode, IReadOnlyList<Variable> memories)
        {
            Variable o = Read(tape, episode, Support, Time, memories[0]).O;
            return tape.MeanSquaredError(o, tape.Keep(Device.From(o.Shape, Floats(episode.Targets))));
        }

        private SelfModifyingResults Read(Tape tape, SelfModifyingEpisode episode, int start, int end, Variable memory)
        {
            SelfModifyingCase c = episode.Whole.Slice(start, end, []);
            return tape.SelfModifying(
                tape.Input(tape.Keep(Device.From(c.InputShape, Floats(c.X)))),
                tape.Input(tape.Keep(Device.From(c.InputShape, Floats(c.Q)))), memory, c.Settings);
        }

        public void Dispose() => Levels.Dispose();
    }

    private static float[] Floats(double[] values) => Array.ConvertAll(values, v => (float)v);
}

public sealed class ManagedMetaGradientTests() : MetaGradientTests("managed");

public sealed class CpuMetaGradientTests() : MetaGradientTests("cpu");
