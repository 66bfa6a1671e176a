using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>What optimizers refuse, which of them a parameter gets, and what they tell about themselves.</summary>
public sealed class OptimizerSettingsTests : IDisposable
{
    private readonly Device _device = Device.Open("managed");
    private readonly List<Parameter> _parameters = [];

    public static TheoryData<string, Optimizer> OutOfRange { get; } = new()
    {
        { "WeightDecay is NaN", new GradientDescent { WeightDecay = float.NaN } },
        { "Decay is 1,", new Momentum { Decay = 1 } },
        { "Decay is -0.1", new Momentum { Decay = -0.1 } },
        { "WeightDecay is", new Momentum { WeightDecay = float.PositiveInfinity } },
        { "Epsilon is 0", new AdaGrad { Epsilon = 0 } },
        { "beta1 is 1", new Adam { Beta1 = 1 } },
        { "Decay is NaN", new PreconditionedMomentum { Decay = double.NaN } },
        { "Decay is 2", new PreconditionedMomentum { Preconditioner = new DiagonalPreconditioner { Decay = 2 } } },
        { "Epsilon is -1", new PreconditionedMomentum { Preconditioner = new DiagonalPreconditioner { Epsilon = -1 } } },
        { "Ridge is 1e-6", new PreconditionedMomentum { Preconditioner = new MatrixPreconditioner { Ridge = 1e-6f } } },
        { "Period is 0", new PreconditionedMomentum { Preconditioner = new MatrixPreconditioner { Period = 0 } } },
        { "Erase is 1.5", new DeltaMomentum { Erase = 1.5f } },
        { "Decay is 1,", new DeltaMomentum { Decay = 1 } },
        { "Hidden is 0", new DeepMomentum { Hidden = 0 } },
        { "Decay is 0,", new DeepMomentum { Decay = 0 } },
        { "InnerRate is 0", new DeepMomentum { InnerRate = 0 } },
        { "Erase is 2", new DeepMomentum { Erase = 2 } },
        { "Steps is 0", new Muon { Steps = 0 } },
        { "UpdateRms is -1", new Muon { UpdateRms = -1 } },
        { "Beta1 is 0", new M3 { Beta1 = 0 } },
        { "Period is -3", new M3 { Period = -3 } },
        { "SlowWeight is NaN", new M3 { SlowWeight = float.NaN } },
    };

    [Theory]
    [MemberData(nameof(OutOfRange))]
    public void SettingsOutOfRange_AreRefused(string message, Optimizer optimizer) =>
        Assert.Contains(message, Assert.ThrowsAny<ArgumentException>(() => optimizer.CreateMemory(New("w", [3, 4]))).Message,
            StringComparison.Ordinal);

    [Theory]
    [InlineData("muon")]
    [InlineData("m3")]
    [InlineData("delta-momentum")]
    [InlineData("deep-momentum")]
    [InlineData("preconditioned-matrix")]
    public void MatrixOptimizers_RefuseOtherShapes(string name)
    {
        Optimizer optimizer = OptimizerCase.Find(name).Optimizer;
        foreach (Shape shape in (Shape[])[[4], [2, 3, 4], [0, 4]])
        {
            string message = Assert.Throws<ArgumentException>(() => optimizer.CreateMemory(New("gain", shape))).Message;
            Assert.Contains($"'gain' has shape {shape}.", message, StringComparison.Ordinal);
            Assert.Contains("takes matrices", message, StringComparison.Ordinal);
        }
    }

    [Fact]
    public void ByShape_GivesMatricesTheirOptimizer()
    {
        Optimizer matrices = new Muon(), rest = new Adam();
        OptimizerRules rules = OptimizerRules.ByShape(matrices, rest);
        Assert.Same(matrices, Chosen("0.in", [4, 6]));
        Assert.Same(matrices, Chosen("block.0.heads", [4, 6]));
        Assert.Same(rest, Chosen("0.gain", [4]));
        Assert.Same(rest, Chosen("0.start", [2, 4, 6]));
        Assert.Same(rest, Chosen("0.row", [1, 6]));
        Assert.Same(rest, Chosen("embedding", [4, 6]));
        Assert.Same(rest, Chosen("0.convolution", [4, 4]));
        Assert.Equal($"matrices but embedding, head, convolution: {matrices.Rule} | rest: {rest.Rule}", rules.Rule);
        Assert.Same(matrices, OptimizerRules.ByShape(matrices, rest, []).CreateMemory(New("embedding", [4, 6])).Optimizer);

        Optimizer Chosen(string name, Shape shape) => rules.CreateMemory(New(name, shape)).Optimizer;
    }

    [Fact]
    public void Rules_TakeTheFirstThatApplies_AndNoneIsAnError()
    {
        Optimizer first = new Momentum(), second = new AdaGrad();
        var rules = new OptimizerRules(
            new OptimizerRule("vectors", p => p.Value.Shape.Rank == 1, first),
            new OptimizerRule("names in w", p => p.Name.StartsWith('w'), second));
        Assert.Same(first, rules.CreateMemory(New("w", [3])).Optimizer);
        Assert.Same(second, rules.CreateMemory(New("w", [3, 3])).Optimizer);
        string message = Assert.Throws<ArgumentException>(() => rules.CreateMemory(New("x", [3, 3]))).Message;
        Assert.Contains("No rule applies to 'x' [3, 3]: vectors, names in w.", message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => new OptimizerRules());
    }

    [Fact]
    public void ALevelMixesOptimizers_AsEachWouldAlone()
    {
        Parameter[] mixed = [New("in", [4, 6]), New("gain", [6])], alone = [New("in", [4, 6]), New("gain", [6])];
        using var levels = new LevelSystem(new Level("mixed", 2, 0.1f, OptimizerRules.ByShape(new M3 { Period = 2 }, new Adam()), mixed));
        using var m3 = new LevelSystem(new Level("m3", 2, 0.1f, new M3 { Period = 2 }, [alone[0]]));
        using var adam = new LevelSystem(new Level("adam", 2, 0.1f, new Adam(), [alone[1]]));
        for (int step = 0; step < 12; step++)
        {
            foreach ((Parameter parameter, int i) in mixed.Concat(alone).Select((p, i) => (p, i % 2)))
            {
                using Tensor error = _device.From(parameter.Value.Shape,
                    new TestData((ulong)(10 * step + i)).Normal(parameter.Value.Shape));
                parameter.AddError(error);
            }

            levels.Advance(1);
            m3.Advance(1);
            adam.Advance(1);
        }

        for (int i = 0; i < 2; i++)
            Compare.SameBits(mixed[i].Name, mixed[i].Value.ToArray(), alone[i].Value.ToArray());
    }

    [Fact]
    public void SlowMemories_AreLevelsOfTheirOwn()
    {
        const long Matrix = 4 * 3 * 5;
        Assert.Equal(
            [new OptimizerMemoryLevel("m1, v, gathered", 1, 3 * Matrix), new("m2, o2", 7, 2 * Matrix)],
            new M3 { Period = 7 }.CreateMemory(New("w", [3, 5])).Levels);
        Assert.Equal(
            [new OptimizerMemoryLevel("m", 1, Matrix), new("h", 1, 4 * 9), new("p", 4, 4 * 9)],
            new DeltaMomentum { Preconditioner = new MatrixPreconditioner { Period = 4 } }.CreateMemory(New("w", [3, 5])).Levels);
        Assert.Equal(
            [new OptimizerMemoryLevel("z", 1, Matrix), new("start", 0, Matrix)],
            new FollowTheRegularizedLeader().CreateMemory(New("w", [3, 5])).Levels);
        Assert.Empty(new DeltaGradientDescent().CreateMemory(New("w", [3, 5])).Levels);
    }

    [Fact]
    public void ErasedMomentum_DoesNotGrow()
    {
        // Along a gradient that stays, ε = 1 erases all of the momentum before it writes: m = −η g, however often.
        Parameter parameter = New("w", [1, 6]);
        using OptimizerMemory memory = new DeltaMomentum { Decay = 0.99, Erase = 1 }.CreateMemory(parameter);
        float[] g = new TestData(1).Normal(6);
        for (int step = 0; step < 50; step++)
        {
            parameter.Error.CopyFrom(g);
            memory.Commit(parameter, 0.1f, 1);
        }

        // What α keeps of the answer is left: m ← (α − 1) m − η g.
        Compare.Close("m", memory.State[0].Value, Array.ConvertAll(g, x => -0.1 * x / (2 - 0.99)), Tolerances.Optimizer.Forward);
    }

    public void Dispose()
    {
        foreach (Parameter parameter in _parameters)
            parameter.Dispose();
        _device.Dispose();
    }

    private Parameter New(string name, Shape shape)
    {
        var parameter = new Parameter(name, _device.From(shape, new TestData(7).Normal(shape)));
        _parameters.Add(parameter);
        return parameter;
    }
}
