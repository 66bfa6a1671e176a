using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>
/// Gradients that are finite and huge: an error before the commit, after which everything is as it was; for every optimizer, and for the
/// commits by themselves. And none of them divides zero by zero.
/// </summary>
public abstract class HugeGradientTests(string backend) : BackendTests(backend)
{
    private static readonly AdamSettings s_adam = new(1e-3f, 0.9, 0.999, 1e-8f, 0, true, 1, 1);

    public static TheoryData<string, float> Cases()
    {
        var data = new TheoryData<string, float>();
        foreach (OptimizerCase c in OptimizerCase.All)
        {
            foreach (float size in (float[])[1e20f, 1e30f, 3e38f, float.PositiveInfinity, float.NaN])
                data.Add(c.Name, size);
        }

        return data;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void HugeGradient_IsRefused_AndNothingChanges(string name, float size)
    {
        using LevelSystem levels = New(name);
        Level level = levels.Levels[0];
        Parameter parameter = level.Parameters[0];
        Learn(levels, 1, steps: 3);
        parameter.Error.Fill(size);
        float[][] before = States(level);
        var e = Assert.Throws<NotFiniteNumberException>(() => levels.Advance(1));
        Assert.Contains("The error terms of level 'level' have norm ", e.Message, StringComparison.Ordinal);
        Assert.EndsWith("nothing was committed.", e.Message, StringComparison.Ordinal);
        Assert.Throws<NotFiniteNumberException>(() => LevelSystem.Advance([levels], 1));
        Assert.Throws<NotFiniteNumberException>(() => level.Memories[0].Commit(parameter, 1e-3f, 1));
        Assert.Equal((3, 3, 0, 3), (levels.Step, level.Commits, level.Pending, level.Memories[0].Commits));
        Same(before, States(level));

        // What comes after is learned as if there had been no such gradient.
        using LevelSystem other = New(name);
        Learn(other, 1, steps: 3);
        levels.Drop();
        Learn(levels, 1, steps: 2);
        Learn(other, 1, steps: 2);
        Same(States(other.Levels[0]), States(level));
    }

    [Theory]
    [MemberData(nameof(OptimizerCase.Names), MemberType = typeof(OptimizerCase))]
    public void LargestGradient_LeavesEverythingFinite(string name)
    {
        using LevelSystem levels = New(name);
        Level level = levels.Levels[0];
        float largest = (float)(0.99 * level.Memories[0].LargestErrorNorm / Math.Sqrt(level.Parameters[0].Value.Count));
        Learn(levels, largest, steps: 12);
        Learn(levels, 1, steps: 12);
        Finite(level);
    }

    [Theory]
    [MemberData(nameof(OptimizerCase.Names), MemberType = typeof(OptimizerCase))]
    public void NoGradient_LeavesEverythingFinite(string name)
    {
        using LevelSystem levels = New(name);
        Learn(levels, 0, steps: 12);
        Finite(levels.Levels[0]);
        foreach (float size in (float[])[1e-6f, 1e-12f, 1e-15f, 1e-17f, 1e-18f, 1e-19f, 1e-20f, 1e-25f, 1e-30f, 1e-37f, 1e-40f, 1])
        {
            Learn(levels, size, steps: 3);
            Finite(levels.Levels[0]);
        }
    }

    [Fact]
    public void ClippedGradient_IsTaken_UnlessItsScaleIsNoNumber()
    {
        var parameter = new Parameter("w", From([2, 2], new float[4]));
        using var levels = new LevelSystem(new Level("level", 1, 1, new GradientDescent(), [parameter]) { ClipNorm = 2 });
        parameter.Error.Fill(1e20f);
        levels.Advance(1);
        Assert.All(parameter.Value.ToArray(), e => Assert.Equal(-1, e, 1e-6f));
        parameter.Error.Fill(3e38f);
        Assert.Contains("too large to be scaled down to 2",
            Assert.Throws<NotFiniteNumberException>(() => levels.Advance(1)).Message, StringComparison.Ordinal);
        Assert.Equal((1, 0), (levels.Step, levels.Levels[0].Pending));
    }

    [Fact]
    public void SecondSystemsHugeGradient_StopsTheFirst()
    {
        using LevelSystem first = New("adamw"), second = New("adamw");
        first.Levels[0].Parameters[0].Error.Fill(1);
        second.Levels[0].Parameters[0].Error.Fill(1e20f);
        float[][] before = States(first.Levels[0]);
        Assert.Throws<NotFiniteNumberException>(() => LevelSystem.Advance([first, second], 1));
        Same(before, States(first.Levels[0]));
        Assert.Equal(0, first.Step);
    }

    [Theory]
    [InlineData(1e20f)]
    [InlineData(float.NaN)]
    public void Commits_RefuseAHugeGradient_UnlessToldItIsBounded(float size)
    {
        Tensor w = Ones(), m = Ones(), v = Ones(), g = From([4, 3], Enumerable.Repeat(size, 12).ToArray()), ones = Ones();
        Tensor x = From([1, 4], Enumerable.Repeat(size, 4).ToArray()), dy = From([1, 3], [1, 1, 1]);
        var moments = new MomentSettings
        {
            LearningRate = 1, Keep1 = 1, Write1 = 1, Keep2 = 1, Write2 = 1, ReadMoment = 1, Epsilon = 1e-8f,
        };
        Action[] commits =
        [
            () => AdamCommit.Apply(w, g, m, v, s_adam),
            () => AdamCommit.Apply([new(ones, Ones(), Ones(), Ones()), new(w, g, m, v)], s_adam),
            () => MomentCommit.Apply(new MomentTensors(w, g, m, v), moments),
            () => MomentCommit.Apply([new(ones, Ones(), Ones(), Ones()), new(w, g, m, v)], [moments, moments], []),
            () => GemmAdamCommit.Apply(x, dy, null, w, m, v, s_adam),
            () => GemmAdamCommit.Apply(dy, dy, From([3, 3], Enumerable.Repeat(size, 9).ToArray()), Square(), Square(), Square(), s_adam),
        ];
        foreach (Action commit in commits)
        {
            Assert.Contains("Nothing was committed.", Assert.Throws<NotFiniteNumberException>(commit).Message, StringComparison.Ordinal);
            foreach (Tensor tensor in (Tensor[])[w, m, v, ones])
                Assert.All(tensor.ToArray(), e => Assert.Equal(1, e));
        }

        AdamCommit.Apply(w, Ones(), m, v, s_adam with { GradientIsBounded = true });
        Assert.All(w.ToArray(), e => Assert.NotEqual(1, e));

        Tensor Ones() => From([4, 3], Enumerable.Repeat(1f, 12).ToArray());
        Tensor Square() => From([3, 3], Enumerable.Repeat(1f, 9).ToArray());
    }

    [Fact]
    public void ProductOfLargeFactors_IsMeasuredBeforeItIsRefused()
    {
        // The factors' norms multiply to more than is allowed, their product is small.
        Tensor x = From([2, 1], [1e12f, 0]), dy = From([2, 1], [0, 1e12f]), w = Zeros([1, 1]), m = Zeros([1, 1]), v = Zeros([1, 1]);
        GemmAdamCommit.Apply(x, dy, null, w, m, v, s_adam);
        Assert.Equal(0, w.ToArray()[0]);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1e-45f)]
    [InlineData(-1e-8f)]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void EpsilonThatIsNoNormalNumber_IsRefused(float epsilon)
    {
        Tensor w = Zeros([3, 2]), g = Zeros([3, 2]), m = Zeros([3, 2]), v = Zeros([3, 2]);
        using var parameter = new Parameter("w", Device.Zeros([3, 2]));
        Action[] all =
        [
            () => AdamCommit.Apply(w, g, m, v, s_adam with { Epsilon = epsilon }),
            () => GemmAdamCommit.Apply(Zeros([1, 3]), Zeros([1, 2]), null, w, m, v, s_adam with { Epsilon = epsilon }),
            () => MomentCommit.Apply(new MomentTensors(w, g, V: v), new MomentSettings { Epsilon = epsilon }),
            () => new Adam { Epsilon = epsilon }.CreateMemory(parameter),
            () => new AdaGrad { Epsilon = epsilon }.CreateMemory(parameter),
            () => new M3 { Epsilon = epsilon }.CreateMemory(parameter),
            () => new DeltaMomentum { Preconditioner = new DiagonalPreconditioner { Epsilon = epsilon } }.CreateMemory(parameter),
        ];
        foreach (Action refused in all)
            Assert.Contains("psilon is ", Assert.ThrowsAny<ArgumentException>(refused).Message, StringComparison.Ordinal);
        foreach (Tensor tensor in (Tensor[])[w, m, v])
            Assert.All(tensor.ToArray(), e => Assert.Equal(0, e));
        // Without v nothing is divided.
        MomentCommit.Apply(new MomentTensors(w, g, m), new MomentSettings());
    }

    private LevelSystem New(string name) => new(new Level("level", 1, 1e-2f, OptimizerCase.Find(name).Optimizer,
        [new Parameter("w", Device.From([3, 4], new TestData(5).Normal(12)))]));

    private static void Learn(LevelSystem levels, float size, int steps)
    {
        var data = new TestData(7);
        for (int step = 0; step < steps; step++)
        {
            float[] signs = Array.ConvertAll(data.Uniform(12, -1, 1), e => MathF.CopySign(size, e));
            levels.Levels[0].Parameters[0].Error.CopyFrom(signs);
            levels.Advance(1);
        }
    }

    private static float[][] States(Level level) =>
        [
            level.Parameters[0].Value.ToArray(), level.Parameters[0].Error.ToArray(),
            .. level.Memories[0].State.Select(s => s.Value.ToArray()),
        ];

    private static void Same(float[][] expected, float[][] actual)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < expected.Length; i++)
            Compare.SameBits($"state {i}", actual[i], expected[i]);
    }

    private static void Finite(Level level)
    {
        float[][] states = States(level);
        for (int i = 0; i < states.Length; i++)
            Compare.Finite($"state {i}", states[i]);
    }
}

public sealed class ManagedHugeGradientTests() : HugeGradientTests("managed");

public sealed class CpuHugeGradientTests() : HugeGradientTests("cpu");
