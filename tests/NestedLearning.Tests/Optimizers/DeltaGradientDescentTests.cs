using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>Delta gradient descent, and the factors of a weight's gradient that it works on.</summary>
public abstract class DeltaGradientDescentTests(string backend) : BackendTests(backend)
{
    [Fact]
    public void Commit_GivesGoldenResults()
    {
        // The case has W [r, c] and W x; here the weight is its transpose.
        GoldenCase golden = GoldenCase.Load("dgd");
        golden.HasResults("w");
        Shape shape = golden.InputShape("w");
        double[] w = ReferenceDense.Transpose(shape[0], shape[1], Compare.ToDouble(golden.Input("w")));
        using var parameter = new Parameter("w", Device.From([shape[1], shape[0]], Array.ConvertAll(w, e => (float)e)));
        using OptimizerMemory memory = new DeltaGradientDescent().CreateMemory(parameter);
        parameter.Factors!.Add(Track(golden.Input(Device, "x")), Track(golden.Input(Device, "grad_y")));
        memory.Commit(parameter, golden.Number("lr"), 1);
        double[] result = ReferenceDense.Transpose(shape[1], shape[0], Compare.ToDouble(parameter.Value.ToArray()));
        golden.Check("w", Array.ConvertAll(result, e => (float)e));
    }

    [Theory]
    [InlineData(1, 1, 1)]
    [InlineData(1, 5, 3)]
    [InlineData(63, 7, 9)]
    [InlineData(64, 16, 8)]
    [InlineData(65, 33, 17)]
    [InlineData(300, 8, 40)]
    public void Commit_FollowsTheReference(int tokens, int inputs, int outputs)
    {
        var data = new TestData((ulong)tokens);
        float[] w = data.Normal([inputs, outputs]), x = data.Normal([tokens, inputs]), dy = data.Normal([tokens, outputs]),
            error = data.Normal([inputs, outputs]);
        using Parameter parameter = Weight(w, inputs, outputs);
        using OptimizerMemory memory = new DeltaGradientDescent().CreateMemory(parameter);

        // In two segments, of which the second may have no token, and with a gradient that came without factors.
        int first = (tokens + 1) / 2;
        parameter.Factors!.Add(From([first, inputs], x.AsSpan(0, first * inputs)), From([first, outputs], dy.AsSpan(0, first * outputs)));
        parameter.Factors.Add(From([tokens - first, inputs], x.AsSpan(first * inputs)),
            From([tokens - first, outputs], dy.AsSpan(first * outputs)));
        parameter.Error.CopyFrom(error);
        memory.Commit(parameter, 0.1f, 0.5f);

        double[] expected = Compare.ToDouble(w);
        ReferenceDeltaGradientDescent.Commit(inputs, outputs, expected, Compare.ToDouble(x), Compare.ToDouble(dy), 0.1f * 0.5);
        for (int i = 0; i < expected.Length; i++)
            expected[i] -= 0.1f * 0.5 * error[i];
        Compare.Close("w", parameter.Value, expected, Tolerances.Scan.Forward);
    }

    [Theory]
    [InlineData(0.01f)]
    [InlineData(1f)]
    [InlineData(100f)]
    public void AStep_IsTheExactMinimiser(float rate)
    {
        // NL 113–121: the gradient of ½‖x W + dy‖² + ‖W − W_t‖²/(2η) vanishes, xᵀ (x W + dy) + (W − W_t)/η = 0.
        const int Inputs = 6, Outputs = 5;
        var data = new TestData(2);
        float[] w = data.Normal([Inputs, Outputs]), x = data.Normal(Inputs), dy = data.Normal(Outputs);
        using Parameter parameter = Weight(w, Inputs, Outputs);
        using OptimizerMemory memory = new DeltaGradientDescent().CreateMemory(parameter);
        parameter.Factors!.Add(From([1, Inputs], x), From([1, Outputs], dy));
        memory.Commit(parameter, rate, 1);
        double[] after = Compare.ToDouble(parameter.Value.ToArray());
        double[] answer = ReferenceDense.Product(1, Outputs, Inputs, Compare.ToDouble(x), false, after, false, Compare.ToDouble(dy));
        for (int i = 0; i < after.Length; i++)
        {
            // Rounding of W in float32 alone is left, divided by η.
            double gradient = (double)x[i / Outputs] * answer[i % Outputs] + (after[i] - w[i]) / rate;
            Assert.InRange(gradient, -4e-6 * (1 + 1 / rate), 4e-6 * (1 + 1 / rate));
        }
    }

    [Fact]
    public void LinearAndMlp_LeaveFactors_WhoseProductIsTheGradient()
    {
        (Parameter[] plain, Parameter[] kept) = (Network(), Network());
        using var factorLevel = new LevelSystem(new Level("kept", 10, 0.1f, new DeltaGradientDescent(), kept));
        using var plainLevel = new LevelSystem(new Level("plain", 10, 0.1f, new GradientDescent(), plain));
        Backward(plain, 1);
        Backward(plain, 2);
        Backward(kept, 1);
        Backward(kept, 2);
        foreach ((Parameter one, Parameter other) in plain.Zip(kept))
        {
            Assert.Null(one.Factors);
            if (other.Value.Shape.Rank == 2 && other.Name != "table")
            {
                Assert.Equal(2 * 6, other.Factors!.Tokens);
                Assert.Equal(2, other.Factors.Segments.Count);
                Assert.Equal(4L * 12 * (other.Value.Shape[0] + other.Value.Shape[1]), other.Factors.Bytes);
                Assert.All(other.Error.ToArray(), e => Assert.Equal(0, e));
                using Tensor product = Device.Zeros(other.Value.Shape);
                other.Factors.AddProductTo(product);
                Compare.Close(one.Name, product, one.Error.ToArray(), Tolerances.Gemm.Forward);
                Assert.Equal(GlobalNorm.Of(one.Error), Math.Sqrt(other.SquaredErrorNorm()), 1e-5 * GlobalNorm.Of(one.Error));
            }
            else
            {
                // Biases, and a table that is used for rows and as its transpose.
                Assert.True(other.Factors is null or { Tokens: 0 });
                Compare.SameBits(one.Name, other.Error.ToArray(), one.Error.ToArray());
            }
        }
    }

    [Fact]
    public void Factors_AreErrorTerms_DroppedAndCommittedWithTheOthers()
    {
        Parameter[] parameters = Network();
        using var levels = new LevelSystem(new Level("level", 4, 0.1f, new DeltaGradientDescent(), parameters));
        Backward(parameters, 1);
        levels.Advance(1);
        Assert.Equal(6, parameters[1].Factors!.Tokens);
        levels.Drop();
        Assert.All(parameters, p => Assert.True(p.Factors is null or { Tokens: 0 }));
        Backward(parameters, 2);
        float[] before = parameters[1].Value.ToArray();
        levels.Advance(3);
        Assert.All(parameters, p => Assert.True(p.Factors is null or { Tokens: 0 }));
        Assert.NotEqual(before, parameters[1].Value.ToArray());
    }

    [Fact]
    public void Checkpoint_MidChunk_ContinuesToTheSameBits()
    {
        LevelSystem New() => new(new Level("level", 4, 0.1f, new DeltaGradientDescent(), Network()) { Reduction = ErrorReduction.Mean })
        {
            RecordsTimeline = true,
        };
        void Run(LevelSystem levels, int from, int to)
        {
            for (int step = from; step < to; step++)
            {
                Backward([.. levels.Levels[0].Parameters], (ulong)step);
                levels.Advance(1);
            }
        }

        using LevelSystem whole = New(), first = New(), second = New();
        Run(whole, 0, 9);
        Run(first, 0, 6);
        var file = new SafetensorsFile();
        first.Save(file, "x.");
        Assert.Equal([12, 5], file.ShapeOf("x.factors.in.x"));
        foreach (string missing in file.Names)
        {
            var cut = new SafetensorsFile();
            foreach ((string key, string value) in file.Metadata)
                cut.Metadata[key] = value;
            foreach (string name in file.Names.Where(n => n != missing))
            {
                if (file.HoldsFloats(name))
                    cut.Add(name, file.ShapeOf(name), file.Floats(name));
                else
                    cut.Add(name, file.Integers(name, file.ShapeOf(name).ElementCount));
            }

            Assert.Contains($"'{missing}'", Assert.Throws<CheckpointException>(() => second.Load(cut, "x.")).Message,
                StringComparison.Ordinal);
            Assert.Equal(0, second.Levels[0].Parameters[1].Factors!.Tokens);
        }

        second.Load(file, "x.");
        Run(second, 6, 9);
        foreach ((Parameter one, Parameter other) in second.Levels[0].Parameters.Zip(whole.Levels[0].Parameters))
            Compare.SameBits(one.Name, one.Value.ToArray(), other.Value.ToArray());
        Assert.Equal(whole.Timeline.Commits, second.Timeline.Commits);
    }

    [Fact]
    public void ReductionAndClipping_ActOnTheRate()
    {
        const int Inputs = 4, Outputs = 3, Tokens = 5;
        var data = new TestData(3);
        float[] w = data.Normal([Inputs, Outputs]), x = data.Normal([Tokens, Inputs]), dy = data.Normal([Tokens, Outputs]);
        Parameter parameter = Weight(w, Inputs, Outputs);
        using var levels = new LevelSystem(new Level("level", Tokens, 0.1f, new DeltaGradientDescent(), [parameter])
        {
            Reduction = ErrorReduction.Mean, ClipNorm = 0.25,
        });
        parameter.Factors!.Add(From([Tokens, Inputs], x), From([Tokens, Outputs], dy));
        double[] gradient = ReferenceDense.Product(Inputs, Outputs, Tokens, Compare.ToDouble(x), true, Compare.ToDouble(dy), false, null);
        double norm = Math.Sqrt(gradient.Sum(g => g * g)) / Tokens;
        Assert.True(norm > 0.25);
        levels.Advance(Tokens);
        double[] expected = Compare.ToDouble(w);
        ReferenceDeltaGradientDescent.Commit(Inputs, Outputs, expected, Compare.ToDouble(x), Compare.ToDouble(dy),
            0.1f * 0.25 / norm / Tokens);
        Compare.Close("w", parameter.Value, expected, Tolerances.Scan.Forward);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void NanFactor_LeavesEverythingAsItWas(bool inInput)
    {
        Parameter parameter = Weight(new TestData(4).Normal(12), 4, 3);
        float[] before = parameter.Value.ToArray(), x = [1, 2, 3, 4], dy = [1, 2, 3];
        (inInput ? x : dy)[2] = float.NaN;
        using var levels = new LevelSystem(new Level("level", 1, 0.1f, new DeltaGradientDescent(), [parameter]));
        parameter.Factors!.Add(From([1, 4], x), From([1, 3], dy));
        Assert.Throws<NotFiniteNumberException>(() => levels.Advance(1));
        Compare.SameBits("w", parameter.Value.ToArray(), before);
        Assert.Equal(1, parameter.Factors.Tokens);
        Assert.Equal(0, levels.Step);
    }

    [Fact]
    public void Threads_DoNotChangeBits() => SameBitsForAnyThreads(() =>
    {
        var data = new TestData(5);
        using Parameter parameter = Weight(data.Normal([100, 150]), 100, 150);
        using OptimizerMemory memory = new DeltaGradientDescent().CreateMemory(parameter);
        parameter.Factors!.Add(From([130, 100], data.Normal([130, 100])), From([130, 150], data.Normal([130, 150])));
        memory.Commit(parameter, 0.1f, 1);
        return [("w", parameter.Value.ToArray())];
    });

    [Fact]
    public void FactorsThatDoNotFit_AreRefused()
    {
        using Parameter parameter = Weight(new float[12], 4, 3);
        parameter.KeepFactors();
        Assert.Contains("x has shape [2, 3], expected [.., 4]",
            Assert.Throws<ArgumentException>(() => parameter.Factors!.Add(Zeros([2, 3]), Zeros([2, 3]))).Message, StringComparison.Ordinal);
        Assert.Contains("expected 2 rows of 3",
            Assert.Throws<ArgumentException>(() => parameter.Factors!.Add(Zeros([2, 4]), Zeros([1, 3]))).Message, StringComparison.Ordinal);
        Assert.Equal(0, parameter.Factors!.Tokens);
        using var bias = new Parameter("bias", Device.Zeros([4]));
        Assert.Contains("bias has shape [4], expected [K, N]", Assert.Throws<ArgumentException>(bias.KeepFactors).Message,
            StringComparison.Ordinal);
    }

    private Parameter Weight(float[] w, int inputs, int outputs) => new("w", Device.From([inputs, outputs], w));

    // A table, an MLP with its biases and a projection; the table is also the output layer.
    private Parameter[] Network()
    {
        var data = new TestData(9);
        Parameter New(string name, Shape shape) => new(name, Device.From(shape, data.Normal(shape)));
        return [New("table", [7, 5]), New("in", [5, 8]), New("in_bias", [8]), New("out", [8, 5]), New("out_bias", [5]),
            New("projection", [5, 5])];
    }

    private void Backward(Parameter[] p, ulong seed)
    {
        var data = new TestData(seed);
        using var tape = new Tape(Device);
        IndexTensor tokens = tape.Keep(Device.FromIndices([2, 3], data.Below(6, 7)));
        Variable table = tape.Use(p[0]);
        Variable x = tape.Embedding(tokens, table);
        x = tape.Mlp(x, tape.Use(p[1]), tape.Use(p[2]), tape.Use(p[3]), tape.Use(p[4]), residual: x);
        Variable logits = tape.Linear(tape.Linear(x, tape.Use(p[5])), table, transposeWeight: true);
        tape.Backward(logits, tape.Keep(Device.From(logits.Shape, data.Normal(logits.Shape))));
    }
}

public sealed class ManagedDeltaGradientDescentTests() : DeltaGradientDescentTests("managed");

public sealed class CpuDeltaGradientDescentTests() : DeltaGradientDescentTests("cpu");
