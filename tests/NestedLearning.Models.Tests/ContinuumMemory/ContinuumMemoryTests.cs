using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Models.Tests;

public abstract class ContinuumMemoryTests(string backend) : BackendTests(backend)
{
    // Single-precision runs of some dozen tokens against double: three times the worst seen.
    private const double Tolerance = 3e-5;

    /// <summary>Every variant, plain and with everything turned from its default.</summary>
    public static TheoryData<ContinuumVariant, bool> Cases =>
        [.. Enum.GetValues<ContinuumVariant>().SelectMany(v => (TheoryDataRow<ContinuumVariant, bool>[])[(v, false), (v, true)])];

    [Theory]
    [MemberData(nameof(Cases))]
    public void TaskLoss_MatchesTheReference_OverAStream(ContinuumVariant variant, bool turned)
    {
        using var memory = new ContinuumMemory(Device, Configuration(variant, turned));
        var reference = new ReferenceContinuumMemory(memory);
        Stream(memory, reference, (x, target, steps) =>
        {
            using var tape = new Tape(Device);
            Variable y = memory.Forward(tape, tape.Input(x));
            using Tensor seed = y.Value.Clone();
            Elementwise.AddScaled(-1, target, seed);
            tape.Backward(y, seed);
            memory.Levels.Advance(steps);
            return y.Value.ToArray();
        }, (x, target) =>
        {
            double[] y = reference.Forward(x);
            reference.AddTaskGradient(x, [.. y.Zip(target, (a, b) => a - b)]);
            return y;
        });
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Regress_MatchesTheReference_OverAStream(ContinuumVariant variant, bool turned)
    {
        using var memory = new ContinuumMemory(Device, Configuration(variant, turned));
        StreamRegressions(memory);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Reference_MatchesFiniteDifferences(ContinuumVariant variant, bool turned)
    {
        // Without backpropagation the gradient is, on purpose, not that of any loss.
        ContinuumMemoryConfiguration configuration = Configuration(variant, turned);
        configuration = configuration with { Settings = configuration.Settings with { Backpropagates = true } };
        using var memory = new ContinuumMemory(Device, configuration);
        var data = new TestData(3);
        Randomise(memory, data);
        var reference = new ReferenceContinuumMemory(memory);
        double[] x = Compare.ToDouble(data.Normal(configuration.Dim)), seed = Compare.ToDouble(data.Normal(configuration.Dim));
        double[] dx = reference.AddTaskGradient(x, seed);
        double Loss() => FiniteDifferences.Dot(reference.Forward(x), seed);
        Compare.Close("dx", dx, FiniteDifferences.Gradient(Loss, x), Tolerances.FiniteDifference);
        foreach ((string name, double[] value) in reference.Values)
            Compare.Close(name, reference.Errors[name], FiniteDifferences.Gradient(Loss, value), Tolerances.FiniteDifference);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void InputGradient_MatchesTheReference(ContinuumVariant variant, bool turned)
    {
        using var memory = new ContinuumMemory(Device, Configuration(variant, turned));
        var data = new TestData(4);
        Randomise(memory, data);
        var reference = new ReferenceContinuumMemory(memory);
        int dim = memory.Configuration.Dim;
        using Tensor x = Device.From([2, 3, dim], data.Normal(6 * dim)), seed = Device.From(x.Shape, data.Normal(6 * dim));
        using var tape = new Tape(Device);
        Variable input = tape.Input(x, needsGradient: true);
        tape.Backward(memory.Forward(tape, input), seed);
        double[] expected = [.. Rows(x).Zip(Rows(seed), reference.AddTaskGradient).SelectMany(d => d)];
        Compare.Close("dx", input.Gradient!, expected, Tolerance);
        CompareErrors(memory, reference);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Splits_DoNotMatter_ButForRounding(ContinuumVariant variant, bool turned)
    {
        ContinuumMemoryConfiguration configuration = Configuration(variant, turned);
        using ContinuumMemory whole = new(Device, configuration), tokens = new(Device, configuration);
        var data = new TestData(5);
        float[] x = data.Normal(13 * configuration.Dim), target = data.Normal(13 * configuration.Dim);
        float[] expected = Read(whole, x, target, int.MaxValue), actual = Read(tokens, x, target, 1);
        Compare.Close("y", actual, expected, Tolerance);
        foreach ((Parameter a, Parameter b) in Parameters(tokens).Zip(Parameters(whole)))
        {
            Compare.Close(a.Name, a.Value, b.Value.ToArray(), Tolerance);
            Compare.Close(a.Name + " error", a.Error, b.Error.ToArray(), Tolerance);
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Checkpoint_InsideAChunk_ContinuesToTheSameBits(ContinuumVariant variant, bool turned)
    {
        ContinuumMemoryConfiguration configuration = Configuration(variant, turned);
        using ContinuumMemory first = new(Device, configuration), second = new(Device, configuration with { Seed = 9 });
        var data = new TestData(6);
        float[] x = data.Normal(15 * configuration.Dim), target = data.Normal(15 * configuration.Dim);
        int cut = 5 * configuration.Dim;
        Read(first, x[..cut], target[..cut], 1);
        string path = Path.Combine(Path.GetTempPath(), Path.GetRandomFileName());
        try
        {
            var file = new SafetensorsFile();
            first.Save(file, "x.");
            file.Save(path);
            second.Load(SafetensorsFile.Load(path), "x.");
        }
        finally
        {
            File.Delete(path);
        }

        Compare.SameBits("y", Read(second, x[cut..], target[cut..], 4), Read(first, x[cut..], target[cut..], 4));
        SameMemories(second, first);
    }

    [Fact]
    public void APartialChunk_IsKeptFlushedOrDropped()
    {
        ContinuumMemoryConfiguration configuration = Configuration(ContinuumVariant.Nested, turned: false);
        using ContinuumMemory kept = new(Device, configuration), flushed = new(Device, configuration), dropped = new(Device, configuration),
            untouched = new(Device, configuration);
        var reference = new ReferenceContinuumMemory(flushed);
        var data = new TestData(7);
        using Tensor x = From([1, 1, configuration.Dim], data.Normal(configuration.Dim)),
            target = From(x.Shape, data.Normal(configuration.Dim));
        foreach (ContinuumMemory memory in (ContinuumMemory[])[kept, flushed, dropped])
            memory.Regress(x, target).Dispose();
        reference.AddRegressionGradient(Rows(x)[0], Rows(target)[0]);
        reference.Advance();
        CompareErrors(kept, reference);
        reference.Flush();
        Assert.Equal(3, flushed.Levels.Flush());
        CompareValues(flushed, reference);
        dropped.Levels.Drop();
        Assert.All(Parameters(dropped), p => Assert.All(p.Error.ToArray(), e => Assert.Equal(0, e)));
        foreach ((Parameter a, Parameter b) in Parameters(dropped).Zip(Parameters(untouched)))
            Compare.SameBits(a.Name, a.Value.ToArray(), b.Value.ToArray());
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Copies_AreSeparateRuns(ContinuumVariant variant, bool turned)
    {
        ContinuumMemoryConfiguration configuration = Configuration(variant, turned);
        using var source = new ContinuumMemory(Device, configuration);
        var data = new TestData(8);
        Read(source, data.Normal(3 * configuration.Dim), data.Normal(3 * configuration.Dim), 1);
        using ContinuumMemory untouched = source.Clone();
        using var copies = new ContinuumMemoryCopies(source, 3);
        ContinuumMemory[] apart = [source.Clone(), source.Clone(), source.Clone()];
        for (int call = 0; call < 8; call++)
        {
            int steps = Math.Min(2, copies.StepsToNextCommit);
            Shape shape = [3, steps, configuration.Dim], one = [1, steps, configuration.Dim];
            using Tensor x = Device.From(shape, data.Normal(shape)), target = Device.From(shape, data.Normal(shape));
            float[] together;
            if (call % 2 == 0)
            {
                using Tensor y = copies.Regress(x, target);
                together = y.ToArray();
            }
            else
            {
                together = TaskStep(copies.Forward, x, target);
                copies.Advance(steps);
            }

            for (int b = 0; b < apart.Length; b++)
            {
                int from = b * one.ElementCount, to = from + one.ElementCount;
                using Tensor xb = Device.From(one, x.ToArray().AsSpan(from..to)),
                    targetb = Device.From(one, target.ToArray().AsSpan(from..to));
                float[] alone;
                if (call % 2 == 0)
                {
                    using Tensor y = apart[b].Regress(xb, targetb);
                    alone = y.ToArray();
                }
                else
                {
                    alone = TaskStep(apart[b].Forward, xb, targetb);
                    apart[b].Levels.Advance(steps);
                }

                Compare.SameBits($"y of sequence {b}", together.AsSpan(from..to), alone);
            }
        }

        for (int b = 0; b < apart.Length; b++)
        {
            SameMemories(copies.Sequences[b], apart[b]);
            apart[b].Dispose();
        }

        SameMemories(source, untouched);
        var file = new SafetensorsFile();
        copies.Save(file, "c.");
        using var loaded = new ContinuumMemoryCopies(source, 3);
        loaded.Load(file, "c.");
        for (int b = 0; b < 3; b++)
            SameMemories(loaded.Sequences[b], copies.Sequences[b]);
        loaded.CopyFrom(source);
        SameMemories(loaded.Sequences[1], source);
    }

    [Fact]
    public void ASequenceThatIsNotANumber_ChangesNoOther()
    {
        ContinuumMemoryConfiguration configuration = Configuration(ContinuumVariant.Sequential, turned: false);
        using var source = new ContinuumMemory(Device, configuration);
        using var copies = new ContinuumMemoryCopies(source, 2);
        var data = new TestData(9);
        float[] values = data.Normal(2 * configuration.Dim);
        values[configuration.Dim] = float.NaN;
        using Tensor x = From([2, 1, configuration.Dim], values), target = From(x.Shape, data.Normal(x.Shape));
        using (var tape = new Tape(Device, recording: false))
        {
            float[] y = copies.Forward(tape, tape.Input(x)).Value.ToArray();
            Compare.Finite("y of the other", y.AsSpan(0, configuration.Dim));
            Assert.All(y[configuration.Dim..], e => Assert.True(float.IsNaN(e)));
        }

        Assert.Throws<NotFiniteNumberException>(() => copies.Regress(x, target));
        SameMemories(copies.Sequences[0], source);
        SameMemories(copies.Sequences[1], source);

        TaskStep(copies.Forward, x, target);
        NotFiniteNumberException e = Assert.Throws<NotFiniteNumberException>(() => copies.Advance(1));
        Assert.Contains("sequence 1", e.Message, StringComparison.Ordinal);
        Assert.Throws<NotFiniteNumberException>(() => copies.Flush());
        Assert.All(copies.Sequences, s => Assert.Equal(0, s.Levels.Step));
        copies.Sequences[1].Levels.Drop();
        copies.Advance(1);
        Assert.All(copies.Sequences, s => Assert.Equal(1, s.Levels.Step));
    }

    [Fact]
    public void AnInputThatIsNotANumber_ChangesNothing()
    {
        ContinuumMemoryConfiguration configuration = Configuration(ContinuumVariant.Independent, turned: true);
        using var memory = new ContinuumMemory(Device, configuration);
        using ContinuumMemory before = memory.Clone();
        using Tensor x = Unwritten([1, 1, configuration.Dim]), target = Zeros(x.Shape);
        Assert.Throws<NotFiniteNumberException>(() => memory.Regress(x, target));
        Assert.Throws<NotFiniteNumberException>(() => memory.Regress(target, x));
        SameMemories(memory, before);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Threads_DoNotChangeBits(ContinuumVariant variant, bool turned)
    {
        ContinuumMemoryConfiguration configuration = Configuration(variant, turned);
        configuration = configuration with
        {
            Dim = 40,
            Levels = [.. configuration.Levels.Select(l => l with { Chunk = 16 * l.Chunk, Hidden = 60 })],
        };
        var data = new TestData(10);
        float[] x = data.Normal(64 * 40), target = data.Normal(64 * 40);
        SameBitsForAnyThreads(() =>
        {
            using var memory = new ContinuumMemory(Device, configuration);
            float[] y = Read(memory, x, target, int.MaxValue);
            return [("y", y), .. Parameters(memory).Select(p => (p.Name, p.Value.ToArray()))];
        });
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void LossFalls_OnAStream(ContinuumVariant variant, bool turned)
    {
        // A fixed map of the input, learned online: the target is a rotation of x plus a bend.
        const int Dim = 8;
        ContinuumMemoryConfiguration configuration = Configuration(variant, turned) with
        {
            Dim = Dim,
            Reduction = ErrorReduction.Mean,
            OutputDeviation = 0.3,
            Levels = [new("fast", 4, 0.02f, 24), new("middle", 8, 0.02f, 24), new("slow", 32, 0.02f, 24)],
        };
        using var memory = new ContinuumMemory(Device, configuration);
        var data = new TestData(11);
        var losses = new List<double>();
        for (int call = 0; call < 400; call++)
        {
            float[] x = data.Normal(4 * Dim);
            float[] target = [.. Enumerable.Range(0, x.Length).Select(i => x[i / Dim * Dim + (i + 1) % Dim] + 0.5f * MathF.Tanh(x[i]))];
            float[] y = Read(memory, x, target, int.MaxValue, regress: call % 2 == 1);
            losses.Add(y.Zip(target, (a, b) => (double)(a - b) * (a - b)).Average());
        }

        double first = losses[..20].Average(), last = losses[^40..].Average();
        Assert.True(last < 0.5 * first, $"The loss went from {first} to {last}.");
    }

    [Fact]
    public void OneLevel_IsAPlainResidualMlp()
    {
        // k = 1 with C = the whole run: nothing is committed until the end.
        var configuration = new ContinuumMemoryConfiguration { Dim = 5, Levels = [new("only", 1000, 0.1f, 7)] };
        using var memory = new ContinuumMemory(Device, configuration);
        Dictionary<string, Parameter> p = Parameters(memory).ToDictionary(p => p.Name);
        using Tensor x = From([2, 3, 5], new TestData(12).Normal(30));
        using var tape = new Tape(Device);
        Variable input = tape.Input(x);
        Variable expected = tape.Mlp(tape.Norm(NormKind.Rms, input, tape.Use(p["memory.0.norm"])), tape.Use(p["memory.0.in"]),
            tape.Use(p["memory.0.in_bias"]), tape.Use(p["memory.0.out"]), null, input);
        Compare.SameBits("y", memory.Forward(tape, input).Value.ToArray(), expected.Value.ToArray());
        Assert.Single(memory.Levels.Levels);
    }

    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(3, 1, 17)]
    public void SmallSizes_Work(int dim, int hidden, int levels)
    {
        foreach (ContinuumVariant variant in Enum.GetValues<ContinuumVariant>())
        {
            using var memory = new ContinuumMemory(Device, new ContinuumMemoryConfiguration
            {
                Dim = dim,
                Settings = new ContinuumSettings { Variant = variant, GeneratorRank = 1 },
                Levels = [.. Enumerable.Range(0, levels)
                .Select(l => new LevelConfiguration($"level{l}", 1, 1e-3f, hidden) { Optimizer = new GradientDescent() })],
            });
            StreamRegressions(memory);
        }
    }

    [Fact]
    public void Arguments_AreChecked()
    {
        ContinuumMemoryConfiguration good = Configuration(ContinuumVariant.Chained, turned: false);
        Refused("Dim is 0", good with { Dim = 0 });
        Refused("Levels is empty", good with { Levels = [] });
        Refused("Levels[1].Chunk is 1, expected at least the faster level's 2", good with
        {
            Levels = [new("a", 2, 1, 3), new("b", 1, 1, 3)],
        });
        Refused("Levels[0].Hidden is 0", good with { Levels = [new("a", 2, 1, 0)] });
        Refused("GeneratorRank is 6, expected 0 to 5", good with { Settings = good.Settings with { GeneratorRank = 6 } });
        Refused("Variant is 9", good with { Settings = good.Settings with { Variant = (ContinuumVariant)9 } });
        Refused("Norm is 9", good with { Settings = good.Settings with { Form = new MlpForm { Norm = (NormKind)9 } } });
        Refused("OutputDeviation is NaN", good with { OutputDeviation = double.NaN });

        using var memory = new ContinuumMemory(Device, good);
        using var copies = new ContinuumMemoryCopies(memory, 2);
        using Tensor wide = Zeros([1, 1, 6]), x = Zeros([1, 1, 5]), many = Zeros([1, 3, 5]);
        using var tape = new Tape(Device);
        Assert.Contains("[1, 1, 6], expected [B, T, 5]",
            Assert.Throws<ArgumentException>(() => memory.Forward(tape, tape.Input(wide))).Message, StringComparison.Ordinal);
        Assert.Contains("target has shape", Assert.Throws<ArgumentException>(() => memory.Regress(x, wide)).Message,
            StringComparison.Ordinal);
        Assert.Contains("3 steps go past the next commit, expected at most 2",
            Assert.Throws<ArgumentOutOfRangeException>(() => memory.Regress(many, many)).Message, StringComparison.Ordinal);
        Assert.Contains("expected 2 sequences", Assert.Throws<ArgumentException>(() => copies.Forward(tape, tape.Input(x))).Message,
            StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => copies.Advance(3));
        Assert.Throws<ArgumentOutOfRangeException>(() => new ContinuumMemoryCopies(memory, 0));
        Assert.Equal(0, memory.Levels.Step);

        void Refused(string message, ContinuumMemoryConfiguration configuration) =>
            Assert.Contains(message, Assert.Throws<ArgumentException>(() => new ContinuumMemory(Device, configuration)).Message,
                StringComparison.Ordinal);
    }

    // Chunks that do not divide one another, and another rule for each level.
    private static ContinuumMemoryConfiguration Configuration(ContinuumVariant variant, bool turned) => new()
    {
        Dim = 5,
        Reduction = turned ? ErrorReduction.Sum : ErrorReduction.Mean,
        Settings = new ContinuumSettings
        {
            Variant = variant, SlowestFirst = turned, Backpropagates = !turned, GeneratorRank = turned ? 2 : 0, ResetsOptimizers = !turned,
        },
        Levels =
        [
            new("fast", 2, 0.05f, 7) { Optimizer = new GradientDescent() },
            new("middle", 3, 0.01f, 4) { Optimizer = new Adam() },
            new("slow", 7, 0.05f, 6) { Optimizer = new GradientDescent() },
        ],
    };

    // Gains, biases, generators and weights of the sum begin at constants; here they get values of their own.
    private static void Randomise(ContinuumMemory memory, TestData data)
    {
        foreach (Parameter parameter in Parameters(memory))
            parameter.Value.CopyFrom(data.Normal(parameter.Value.Shape, 0.5f));
    }

    // A stream of regressions, beside a reference that begins as the memory is.
    private void StreamRegressions(ContinuumMemory memory)
    {
        var reference = new ReferenceContinuumMemory(memory);
        Stream(memory, reference, (x, target, _) =>
        {
            using Tensor y = memory.Regress(x, target);
            return y.ToArray();
        }, (x, target) =>
        {
            reference.AddRegressionGradient(x, target);
            return reference.Forward(x);
        });
    }

    // Two sequences on shared weights, in pieces that end at commits, beside the reference.
    private void Stream(
        ContinuumMemory memory, ReferenceContinuumMemory reference, Func<Tensor, Tensor, int, float[]> learn, Func<double[], double[],
        double[]> learnReference)
    {
        const int Batch = 2;
        int dim = memory.Configuration.Dim;
        var data = new TestData(2);
        for (int left = 23; left > 0;)
        {
            int steps = Math.Min(left, memory.Levels.StepsToNextCommit);
            left -= steps;
            Shape shape = [Batch, steps, dim];
            using Tensor x = Device.From(shape, data.Normal(shape)), target = Device.From(shape, data.Normal(shape));
            float[] actual = learn(x, target, steps);
            double[][] rows = Rows(x), targets = Rows(target);
            double[] expected = new double[actual.Length];
            for (int t = 0; t < steps; t++)
            {
                for (int b = 0; b < Batch; b++)
                {
                    int row = b * steps + t;
                    learnReference(rows[row], targets[row]).CopyTo(expected, row * dim);
                }

                reference.Advance();
            }

            Compare.Close("y", actual, expected, Tolerance);
            CompareValues(memory, reference);
            CompareErrors(memory, reference);
        }
    }

    // One sequence, in pieces of at most so many tokens.
    private float[] Read(ContinuumMemory memory, float[] x, float[] target, int most, bool regress = true)
    {
        int dim = memory.Configuration.Dim;
        var y = new List<float>();
        for (int from = 0; from < x.Length;)
        {
            int steps = Math.Min(Math.Min(most, memory.Levels.StepsToNextCommit), (x.Length - from) / dim), to = from + steps * dim;
            using Tensor piece = Device.From([1, steps, dim], x.AsSpan(from..to)),
                wanted = Device.From([1, steps, dim], target.AsSpan(from..to));
            if (regress)
            {
                using Tensor result = memory.Regress(piece, wanted);
                y.AddRange(result.ToArray());
            }
            else
            {
                y.AddRange(TaskStep(memory.Forward, piece, wanted));
                memory.Levels.Advance(steps);
            }

            from = to;
        }

        return [.. y];
    }

    // The gradient of ½‖y − target‖² by the tape.
    private float[] TaskStep(Func<Tape, Variable, Variable> forward, Tensor x, Tensor target)
    {
        using var tape = new Tape(Device);
        Variable y = forward(tape, tape.Input(x));
        using Tensor seed = y.Value.Clone();
        Elementwise.AddScaled(-1, target, seed);
        tape.Backward(y, seed);
        return y.Value.ToArray();
    }

    private static IEnumerable<Parameter> Parameters(ContinuumMemory memory) => memory.Levels.Levels.SelectMany(l => l.Parameters);

    private static double[][] Rows(Tensor x) => [.. Compare.ToDouble(x.ToArray()).Chunk(x.Shape.Last)];

    private static void CompareValues(ContinuumMemory memory, ReferenceContinuumMemory reference)
    {
        foreach (Parameter parameter in Parameters(memory))
            Compare.Close($"{parameter.Name} at step {memory.Levels.Step}", parameter.Value, reference.Values[parameter.Name], Tolerance);
    }

    private static void CompareErrors(ContinuumMemory memory, ReferenceContinuumMemory reference)
    {
        foreach (Parameter parameter in Parameters(memory))
            Compare.Close($"error of {parameter.Name} at step {memory.Levels.Step}", parameter.Error, reference.Errors[parameter.Name],
                Tolerance);
    }

    private static void SameMemories(ContinuumMemory actual, ContinuumMemory expected)
    {
        SafetensorsFile a = new(), e = new();
        actual.Save(a, "");
        expected.Save(e, "");
        Assert.Equal(e.Names, a.Names);
        foreach (string name in e.Names)
        {
            if (e.HoldsFloats(name))
                Compare.SameBits(name, a.Floats(name), e.Floats(name));
            else
                Assert.Equal(e.Integers(name, e.ShapeOf(name).ElementCount).ToArray(),
                    a.Integers(name, e.ShapeOf(name).ElementCount).ToArray());
        }
    }
}

public sealed class ManagedContinuumMemoryTests() : ContinuumMemoryTests("managed");

public sealed class CpuContinuumMemoryTests() : ContinuumMemoryTests("cpu");
