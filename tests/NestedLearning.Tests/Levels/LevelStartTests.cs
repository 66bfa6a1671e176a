using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public sealed class LevelStartTests : IDisposable
{
    private readonly Device _device = Device.Open("managed");

    [Fact]
    public void ALevel_PassesItsErrorsOn_AndReturns_ByHand()
    {
        // Fast: C = 2, η = 1, returns every 2 of its chunks. Slow: C = 4, η = 0.5, learns the start.
        using LevelSystem levels = New(chunks: 2);
        (Parameter fast, Parameter start) = levels.Levels[0].Start!.Pairs[0];
        var seen = new List<(float Fast, float Start)>();
        for (int t = 1; t <= 8; t++)
        {
            fast.Error.Span[0] += t;
            levels.Advance(1);
            seen.Add((fast.Value.Span[0], start.Value.Span[0]));
        }

        // Commits of fast: 1+2 at 2, 3+4 at 4. Start at 4: 10 − 0.5 (3 + 7) = 5, where fast returns. Again at 6 and 8.
        Assert.Equal(
            [(10f, 10f), (7, 10), (7, 10), (5, 5), (5, 5), (-6, 5), (-6, 5), (-8, -8)],
            seen);
    }

    [Fact]
    public void WithoutAReturnByTheClock_ItReturnsWhenTold()
    {
        using LevelSystem levels = New(chunks: 0);
        (Parameter fast, Parameter start) = levels.Levels[0].Start!.Pairs[0];
        fast.Error.Span[0] = 3;
        levels.Advance(2);
        levels.Advance(2);
        Assert.Equal((7f, 8.5f), (fast.Value.Span[0], start.Value.Span[0]));
        fast.Error.Span[0] = 2;
        levels.Advance(1);
        levels.ReturnToStart();
        Assert.Equal((8.5f, 0f, 2f), (fast.Value.Span[0], fast.Error.Span[0], start.Error.Span[0]));
        Assert.Equal(5, levels.Step);
    }

    [Theory]
    [InlineData(true, false)]
    [InlineData(false, false)]
    [InlineData(true, true)]
    [InlineData(false, true)]
    public void AReturnInsideAChunk_ForgetsTheStepsOfTheErrorsItClears(bool all, bool checkpoint)
    {
        // A mean over a chunk of 4 steps, half of them before the return: of what returned the mean is over 2, of the rest over 4.
        LevelSystem levels = NewMean(all);
        (Parameter fast, Parameter loose) = (levels.Levels[0].Parameters[0], levels.Levels[0].Parameters[1]);
        Run(2);
        levels.ReturnToStart();
        if (checkpoint)
        {
            var file = new SafetensorsFile();
            levels.Save(file, "");
            levels.Dispose();
            levels = NewMean(all);
            levels.Load(file, "");
            (fast, loose) = (levels.Levels[0].Parameters[0], levels.Levels[0].Parameters[1]);
        }

        Assert.Equal(all ? 0 : 2, levels.Levels[0].Pending);
        Run(2);
        Assert.Equal((7f, all ? 7f : -3f), (fast.Value.Span[0], loose.Value.Span[0]));
        // The next chunk is an ordinary one.
        Run(4);
        Assert.Equal((4f, all ? 4f : -6f), (fast.Value.Span[0], loose.Value.Span[0]));
        levels.Dispose();

        void Run(int steps)
        {
            for (int t = 0; t < steps; t++)
            {
                fast.Error.Span[0] += 3;
                loose.Error.Span[0] += 3;
                levels.Advance(1);
            }
        }

        LevelSystem NewMean(bool everyParameter)
        {
            Parameter first = New("fast", 10), second = New("loose", everyParameter ? 10 : 0), one = New("start", 10);
            Parameter two = New("other", 10);
            (Parameter, Parameter)[] pairs = everyParameter ? [(first, one), (second, two)] : [(first, one)];
            return new LevelSystem(
                new Level("fast", 4, 1, new GradientDescent(), [first, second])
                {
                    Start = new LevelStart(pairs, 0), Reduction = ErrorReduction.Mean, ClipNorm = 100,
                },
                new Level("slow", 64, 0.5f, new GradientDescent(), [one, two]));
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void AReturn_EmptiesOptimizerMemoriesOrNot(bool resets)
    {
        using LevelSystem levels = New(chunks: 1, resets, new Adam());
        Parameter fast = levels.Levels[0].Parameters[0];
        fast.Error.Span[0] = 3;
        levels.Advance(2);
        OptimizerMemory memory = levels.Levels[0].Memories[0];
        Assert.Equal(resets ? 0 : 1, memory.Commits);
        Assert.Equal(resets, memory.State.All(s => s.Value.ToArray().All(e => e == 0)));
        // The other parameter of the level has no start and keeps its memory.
        Assert.Equal(1, levels.Levels[0].Memories[1].Commits);
    }

    [Fact]
    public void FactorsOfAGradient_AreMultipliedOutForTheStart()
    {
        // Delta gradient descent keeps x and dy of y = x W apart.
        var data = new TestData(1);
        float[] x = data.Normal(4), dy = data.Normal(6);
        Parameter fast = new("fast", _device.Full([2, 3], 0.5f)), start = new("start", _device.Full([2, 3], 0.5f));
        using var levels = new LevelSystem(
            new Level("fast", 2, 0.1f, new DeltaGradientDescent(), [fast]) { Start = new LevelStart([(fast, start)], 1) },
            new Level("slow", 4, 1, new GradientDescent(), [start]));
        using Tensor input = _device.From([2, 2], x), seed = _device.From([2, 3], dy);
        using var tape = new Tape(_device);
        tape.Backward(tape.Linear(tape.Input(input), tape.Use(fast)), seed);
        levels.Advance(2);
        float[] expected = [.. Enumerable.Range(0, 6).Select(i => x[i / 3] * dy[i % 3] + x[2 + i / 3] * dy[3 + i % 3])];
        Compare.Close("error of the start", start.Error, expected, Tolerances.Gemm.Gradient);
        Assert.Equal(0, fast.Factors!.Tokens);
        Assert.All(fast.Value.ToArray(), e => Assert.Equal(0.5f, e));
    }

    [Fact]
    public void Learn_ThatFails_LeavesErrorTermsAndFactorsAsTheyWere()
    {
        Parameter weight = new("weight", _device.Full([1, 1], 1));
        using var levels = new LevelSystem(new Level("fast", 4, 0.1f, new DeltaGradientDescent(), [weight]));
        using Tensor one = _device.Full([1, 1], 1), broken = _device.Full([1, 1], float.NaN);
        LevelSystem.Learn([levels], 1, () => Backward(one));
        float[] error = weight.Error.ToArray();
        Assert.Throws<NotFiniteNumberException>(() => LevelSystem.Learn([levels], 1, () => Backward(broken)));
        Assert.Throws<InvalidOperationException>(() => LevelSystem.Learn([levels], 1, () =>
        {
            weight.AddError(one);
            throw new InvalidOperationException();
        }));
        Assert.Throws<ArgumentOutOfRangeException>(() => LevelSystem.Learn([levels], 4, () => Backward(one)));
        Assert.Equal((1L, 1), (levels.Step, weight.Factors!.Tokens));
        Assert.Equal(error, weight.Error.ToArray());

        void Backward(Tensor seed)
        {
            using var tape = new Tape(_device);
            tape.Backward(tape.Linear(tape.Input(one), tape.Use(weight)), seed);
        }
    }

    [Fact]
    public void ErrorsThatAreNotFinite_LeaveTheStartsErrorsAsTheyWere()
    {
        using LevelSystem levels = New(chunks: 1);
        (Parameter fast, Parameter start) = levels.Levels[0].Start!.Pairs[0];
        start.Error.Span[0] = 2;
        fast.Error.Span[0] = float.PositiveInfinity;
        Assert.Throws<NotFiniteNumberException>(() => levels.Advance(2));
        Assert.Equal((10f, 10f, 2f), (fast.Value.Span[0], start.Value.Span[0], start.Error.Span[0]));
        Assert.Equal(0, levels.Step);
        fast.Error.Span[0] = 1;
        levels.Advance(2);
        Assert.Equal(3, start.Error.Span[0]);
    }

    [Fact]
    public void Flush_PassesErrorsOn_AndDoesNotReturn()
    {
        using LevelSystem levels = New(chunks: 1);
        (Parameter fast, Parameter start) = levels.Levels[0].Start!.Pairs[0];
        fast.Error.Span[0] = 2;
        levels.Advance(1);
        Assert.Equal(2, levels.Flush());
        Assert.Equal((8f, 9f), (fast.Value.Span[0], start.Value.Span[0]));
    }

    [Fact]
    public void Checkpoint_BetweenReturns_ContinuesToTheSameBits()
    {
        using LevelSystem first = New(chunks: 2, resets: true, new Adam()), second = New(chunks: 2, resets: true, new Adam());
        Run(first, 3);
        var file = new SafetensorsFile();
        first.Save(file, "");
        second.Load(file, "");
        Run(first, 6);
        Run(second, 6);
        foreach ((Parameter a, Parameter b) in first.Levels.SelectMany(l => l.Parameters).Zip(second.Levels.SelectMany(l => l.Parameters)))
            Compare.SameBits(a.Name, b.Value.ToArray(), a.Value.ToArray());

        static void Run(LevelSystem levels, int steps)
        {
            for (int t = 0; t < steps; t++)
            {
                foreach (Parameter parameter in levels.Levels[0].Parameters)
                    parameter.Error.Span[0] += MathF.Sin(levels.Step);
                levels.Advance(1);
            }
        }
    }

    [Fact]
    public void AStartsCommit_IsClippedByWhatWasPassedOnWithIt()
    {
        using Parameter fast = New("fast", 10), start = New("start", 10);
        using var levels = new LevelSystem(
            new Level("fast", 1, 1, new GradientDescent(), [fast]) { Start = new LevelStart([(fast, start)], 1) },
            new Level("slow", 1, 0.5f, new GradientDescent(), [start]) { ClipNorm = 2 });
        levels.Learn(1, () => fast.Error.Span[0] = 6);
        Assert.Equal((9f, 9f), (fast.Value.Span[0], start.Value.Span[0]));
    }

    [Fact]
    public void WhatDoesNotFit_IsRefused()
    {
        using Parameter a = New("a", 1), b = New("b", 1), wide = new("wide", _device.Zeros([2])), other = New("other", 1);
        Assert.Contains("[2], expected [1]", Assert.Throws<ArgumentException>(() => new LevelStart([(a, wide)], 1)).Message,
            StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => new LevelStart([], 1));
        Assert.Contains("'a'", Assert.Throws<ArgumentException>(() => new LevelStart([(a, b), (a, other)], 1)).Message,
            StringComparison.Ordinal);
        Assert.Throws<ArgumentOutOfRangeException>(() => new LevelStart([(a, b)], -1));
        var start = new LevelStart([(a, b)], 1);
        Assert.Contains("no parameter 'a'", Assert.Throws<ArgumentException>(
            () => new Level("x", 1, 1, new GradientDescent(), [other]) { Start = start }).Message, StringComparison.Ordinal);
        Assert.Contains("The start 'b' of level 'x' is not a parameter of another level", Assert.Throws<ArgumentException>(
            () => new LevelSystem(new Level("x", 1, 1, new GradientDescent(), [a, b]) { Start = start })).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void FrequencyAndBytes_AreThereToBeRead()
    {
        using LevelSystem levels = New(chunks: 1, resets: true, new Adam());
        Assert.Equal([2.0, 1], levels.Levels.Select(levels.FrequencyOf));
        // Two parameters of one number, their error terms, and two moments each.
        Assert.Equal((8L, 24L), (levels.Levels[0].ParameterBytes, levels.Levels[0].StateBytes));
        Assert.IsType<Adam>(levels.Levels[0].Optimizer);
        using LevelSystem others = New(chunks: 1);
        Assert.Throws<ArgumentException>(() => levels.FrequencyOf(others.Levels[0]));
    }

    public void Dispose() => _device.Dispose();

    // A fast level of two parameters, one of which begins at a start that the slow level learns.
    private LevelSystem New(int chunks, bool resets = true, Optimizer? optimizer = null)
    {
        Parameter fast = New("fast", 10), loose = New("loose", 0), start = New("start", 10);
        return new LevelSystem(
            new Level("fast", 2, 1, optimizer ?? new GradientDescent(),
                [fast, loose])
            { Start = new LevelStart([(fast, start)], chunks, resets) },
            new Level("slow", 4, 0.5f, new GradientDescent(), [start]));
    }

    private Parameter New(string name, float value) => new(name, _device.Full([1], value));
}
