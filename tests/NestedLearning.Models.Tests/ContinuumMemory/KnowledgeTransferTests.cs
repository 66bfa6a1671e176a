using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Models.Tests;

/// <summary>The four ways in which knowledge passes between levels (NL 24–31), each switched on and off.</summary>
public sealed class KnowledgeTransferTests : IDisposable
{
    private const int Dim = 6;

    private readonly Device _device = Device.Open("managed");

    [Theory]
    [InlineData(ContinuumVariant.Chained, true)]
    [InlineData(ContinuumVariant.Independent, false)]
    public void DirectConnection_IsTheChain(ContinuumVariant variant, bool passes) =>
        Assert.Equal(passes, TheLastLevelLearnsOtherThings(new ContinuumSettings { Variant = variant }));

    [Theory]
    [InlineData(0, false)]
    [InlineData(2, true)]
    public void Generation_IsTheGeneratorsRank(int rank, bool passes)
    {
        // Independent blocks have no other connection.
        Assert.Equal(passes, TheLastLevelLearnsOtherThings(new ContinuumSettings
        {
            Variant = ContinuumVariant.Independent, GeneratorRank = rank,
        }));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Backpropagation_TellsALevelOfTheWeightsAfterIt(bool backpropagates)
    {
        using ContinuumMemory memory = New(new ContinuumSettings { Backpropagates = backpropagates });
        float[] before = TaskError(), after;
        Parameter last = Find(memory, "memory.1.in");
        last.Value.CopyFrom(new TestData(5).Normal(last.Value.Shape));
        after = TaskError();
        Assert.NotEqual(0, before.Sum(Math.Abs));
        Assert.Equal(backpropagates, !before.AsSpan().SequenceEqual(after));

        // The error terms of the first level's W_in for a given gradient at the memory's output.
        float[] TaskError()
        {
            memory.Levels.Drop();
            using Tensor x = Normal(1), seed = Normal(2);
            using var tape = new Tape(_device);
            tape.Backward(memory.Forward(tape, tape.Input(x)), seed);
            return Find(memory, "memory.0.in").Error.ToArray();
        }
    }

    [Fact]
    public void Initialisation_BringsWhatEarlierContextsTaughtIntoTheNext()
    {
        // Contexts of 16 tokens, after each of which the fast level returns to what the slow one has made of its start.
        using var memory = new ContinuumMemory(_device, new ContinuumMemoryConfiguration
        {
            Dim = Dim,
            OutputDeviation = 0.1,
            Settings = new ContinuumSettings { Variant = ContinuumVariant.Nested },
            Levels = [new("fast", 2, 0.1f, 24) { Optimizer = new GradientDescent() }, new("slow", 16, 0.02f, 8)],
        });
        float[][] initial = [.. memory.Levels.Levels[0].Parameters.Select(p => p.Value.ToArray())];
        var data = new TestData(3);
        for (int step = 0; step < 200 * 16; step += 2)
            Regress(memory, data).Dispose();

        (Parameter Parameter, Parameter Start)[] pairs = [.. memory.Levels.Levels[0].Start!.Pairs];
        Assert.All(pairs, p => Compare.SameBits(p.Parameter.Name, p.Parameter.Value.ToArray(), p.Start.Value.ToArray()));
        using ContinuumMemory forgetful = memory.Clone();
        foreach ((Parameter parameter, float[] values) in forgetful.Levels.Levels[0].Parameters.Zip(initial))
            parameter.Value.CopyFrom(values);
        double with = Loss(memory), without = Loss(forgetful);
        Assert.True(with < 0.7 * without, $"The first tokens of a context have loss {with} from the learned start and {without} from " +
            "the initial one.");

        static double Loss(ContinuumMemory memory)
        {
            using ContinuumMemory copy = memory.Clone();
            var data = new TestData(4);
            double sum = 0;
            for (int call = 0; call < 100; call++)
            {
                copy.CopyFrom(memory);
                using Tensor error = Regress(copy, data);
                sum += error.ToArray().Sum(e => (double)e * e);
            }

            return sum / 100;
        }
    }

    [Fact]
    public void WithoutASlowLearningRate_TheStartStaysWhereItWas()
    {
        using var memory = new ContinuumMemory(_device, new ContinuumMemoryConfiguration
        {
            Dim = Dim,
            Settings = new ContinuumSettings { Variant = ContinuumVariant.Nested },
            Levels = [new("fast", 2, 0.1f, 8) { Optimizer = new GradientDescent() },
                new("slow", 4, 0, 8) { Optimizer = new GradientDescent() }],
        });
        float[] initial = Find(memory, "memory.0.in").Value.ToArray();
        var data = new TestData(3);
        Regress(memory, data).Dispose();
        Assert.NotEqual(initial, Find(memory, "memory.0.in").Value.ToArray());
        Regress(memory, data).Dispose();
        Compare.SameBits("W_in", Find(memory, "memory.0.in").Value.ToArray(), initial);
    }

    public void Dispose() => _device.Dispose();

    // Whether the last level's own regression changes when the first level's weights do, and nothing else.
    private bool TheLastLevelLearnsOtherThings(ContinuumSettings settings)
    {
        using ContinuumMemory memory = New(settings);
        if (settings.GeneratorRank > 0)
        {
            Parameter up = Find(memory, "memory.0.generator_up");
            up.Value.CopyFrom(new TestData(6).Normal(up.Value.Shape));
        }

        float[] before = LocalError(memory);
        Parameter first = Find(memory, "memory.0.out");
        first.Value.CopyFrom(new TestData(5).Normal(first.Value.Shape));
        float[] after = LocalError(memory);
        Assert.NotEqual(0, before.Sum(Math.Abs));
        return !before.AsSpan().SequenceEqual(after);

        float[] LocalError(ContinuumMemory memory)
        {
            using ContinuumMemory copy = memory.Clone();
            using Tensor x = Normal(1), target = Normal(2);
            copy.Regress(x, target).Dispose();
            return Find(copy, "memory.1.in").Error.ToArray();
        }
    }

    // One call of two tokens; the target is a rotation of x with a bend. Returns what was wrong.
    private static Tensor Regress(ContinuumMemory memory, TestData data)
    {
        float[] values = data.Normal(2 * Dim);
        float[] wanted = [.. values.Select((e, i) => values[i / Dim * Dim + (i + 1) % Dim] + 0.5f * MathF.Tanh(e))];
        using Tensor x = memory.Device.From([1, 2, Dim], values), target = memory.Device.From([1, 2, Dim], wanted);
        Tensor y = memory.Regress(x, target);
        Elementwise.AddScaled(-1, target, y);
        return y;
    }

    private ContinuumMemory New(ContinuumSettings settings) => new(_device, new ContinuumMemoryConfiguration
    {
        Dim = Dim, Settings = settings, Levels = [new("fast", 100, 0.1f, 7), new("slow", 200, 0.1f, 5)],
    });

    private Tensor Normal(ulong seed) => _device.From([1, 3, Dim], new TestData(seed).Normal(3 * Dim));

    private static Parameter Find(ContinuumMemory memory, string name) =>
        memory.Levels.Levels.SelectMany(l => l.Parameters).Single(p => p.Name == name);
}
