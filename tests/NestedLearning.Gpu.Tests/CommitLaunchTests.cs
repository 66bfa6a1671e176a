using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Gpu.Tests;

/// <summary>What a commit of many tensors costs in launches, and that sharing them changes no bit.</summary>
public abstract class CommitLaunchTests(string backend, int large) : BackendTests(backend)
{
    // What measures gradients is a launch of its own.
    private static readonly AdamSettings s_plain = new(0.1f, 0.9, 0.999, 1e-8f, 0, true, 1, 1) { GradientIsBounded = true };

    // The tensors that one launch takes.
    private const int Capacity = 12;

    // 40 tensors, 37 of them with elements: none, one element, few, and a large one among them.
    private int[] Counts => [5, 0, 1, large, .. Enumerable.Range(0, 34).Select(i => 1 + i % 7 * 9), 0, 0];

    private long Launches => ((IlgpuBackend)Backend).Launches;

    [Fact]
    public void Adam_OfManyTensors_TakesFewLaunches_AndHasTheBitsOfEachAlone()
    {
        AdamTensors[] together = Adam(), apart = Adam();
        AdamSettings[] settings = [.. together.Select((_, i) =>
            new AdamSettings(0.01f * (1 + i % 5), 0.9 - 0.01 * i, 0.999, 1e-8f, 0.1f * (i % 3), i % 2 == 0, 1 + i, 1 - 0.02f * i)
        {
            ClearGradient = i % 3 == 1,
            Moments = IsHalf(i) ? MomentPrecision.BFloat16 : MomentPrecision.Float32,
            Seed = 77 + (ulong)i,
            GradientIsBounded = true,
        })];
        var changes = new CommitChange[together.Length];
        long before = Launches;
        AdamCommit.Apply(together, settings, changes);
        Assert.Equal((37 + Capacity - 1) / Capacity + 1, Launches - before);

        before = Launches;
        for (int i = 0; i < apart.Length; i++)
        {
            var change = new CommitChange[1];
            AdamCommit.Apply([apart[i]], [settings[i]], change);
            Assert.Equal(change[0], changes[i]);
            Assert.Equal(apart[i].W.Count > 0, changes[i].Change > 0);
            Same(i, [(together[i].W, apart[i].W), (together[i].G, apart[i].G), (together[i].M, apart[i].M), (together[i].V, apart[i].V)]);
        }

        Assert.Equal(2 * 37, Launches - before);
    }

    [Fact]
    public void Moments_OfManyTensors_TakeFewLaunches_AndHaveTheBitsOfEachAlone()
    {
        MomentTensors[] together = Moments(), apart = Moments();
        MomentSettings[] settings = [.. together.Select((_, i) => new MomentSettings
        {
            LearningRate = 0.01f * (1 + i), GradientScale = 1 - 0.02f * i, Keep1 = 0.9f, Write1 = 0.1f + 0.01f * i, Keep2 = 0.99f,
                Write2 = 0.01f, ReadMoment = 0.5f, ReadGradient = 0.1f * (i % 4),
            Decay = 0.001f * i, Epsilon = 1e-3f, ClearGradient = i % 3 == 1,
            GradientIsBounded = true,
        })];
        var changes = new CommitChange[together.Length];
        long before = Launches;
        MomentCommit.Apply(together, settings, changes);
        Assert.Equal((37 + Capacity - 1) / Capacity + 1, Launches - before);
        for (int i = 0; i < apart.Length; i++)
        {
            var change = new CommitChange[1];
            MomentCommit.Apply([apart[i]], [settings[i]], change);
            Assert.Equal(change[0], changes[i]);
            Assert.Equal(apart[i].W is { Count: > 0 }, changes[i].Value > 0);
            Same(i, [(together[i].W, apart[i].W), (together[i].G, apart[i].G), (together[i].M, apart[i].M), (together[i].V, apart[i].V)]);
        }
    }

    [Fact]
    public void SquaresOfManyTensors_AreSummedTogether_AndHaveTheBitsOfEachAlone()
    {
        Tensor[] tensors = [.. Adam().Select(t => t.W)];
        double[] apart = [.. tensors.Select(Backend.SumOfSquares)];
        double[] sums = [.. tensors.Select(_ => double.NaN)];
        long before = Launches;
        Backend.SumsOfSquares(tensors, sums);
        Assert.Equal(37 + 1, Launches - before);
        Assert.Equal(apart, sums);
        Assert.Equal(tensors.Select(t => t.Count > 0), sums.Select(s => s > 0));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(Capacity)]
    [InlineData(Capacity + 1)]
    [InlineData(40)]
    public void WithoutChanges_NothingIsSummed(int tensors)
    {
        AdamTensors[] all = [.. Adam().Where(t => t.W.Count > 0 && t.M.Count == t.W.Count).Take(tensors)];
        long before = Launches;
        AdamCommit.Apply(all, s_plain);
        Assert.Equal((all.Length + Capacity - 1) / Capacity, Launches - before);
    }

    [Fact]
    public void EmptyTensors_TakeNoLaunch()
    {
        AdamTensors[] empty = [.. Adam().Where(t => t.W.Count == 0)];
        CommitChange[] changes = [.. empty.Select(_ => new CommitChange(1, 1))];
        AdamSettings[] settings = [.. empty.Select(_ => s_plain)];
        Assert.Equal(3, empty.Length);
        long before = Launches;
        AdamCommit.Apply(empty, settings, changes);
        Assert.Equal(0, Launches - before);
        Assert.All(changes, c => Assert.Equal(default, c));
    }

    [Fact]
    public void NextCommit_DoesNotSeeTheLast()
    {
        // Their sums are in the same memory, which comes from a pool.
        var changes = new CommitChange[40];
        AdamSettings settings = s_plain;
        Tensor w = From([3], [1, 2, 3]), g = Zeros([3]), m = Zeros([3]), v = Zeros([3]);
        MomentTensors[] others = Moments();
        var bounded = new MomentSettings { LearningRate = 0.1f, Epsilon = 1e-8f, GradientIsBounded = true };
        MomentCommit.Apply(others, [.. others.Select(_ => bounded)], changes);
        AdamCommit.Apply([new AdamTensors(w, g, m, v)], [settings], changes.AsSpan(0, 1));
        Assert.Equal(new CommitChange(0, 14), changes[0]);
    }

    private static bool IsHalf(int i) => i % 5 == 3;

    private AdamTensors[] Adam()
    {
        var data = new TestData(41);
        return [.. Counts.Select((count, i) =>
        {
            int moments = IsHalf(i) ? BFloat16.PackedCount(count) : count;
            Tensor w = From([count], data.Normal(count)), g = From([count], data.Normal(count));
            float[] m = data.Uniform(moments, 0.1f, 0.5f), v = data.Uniform(moments, 0.1f, 0.5f);
            return new AdamTensors(w, g, From([moments], IsHalf(i) ? Halves(m) : m), From([moments], IsHalf(i) ? Halves(v) : v));
        })];

        // Each number twice, cut off to bfloat16.
        static float[] Halves(float[] x) => Array.ConvertAll(x, e =>
        {
            uint half = BitConverter.SingleToUInt32Bits(e) >> 16;
            return BitConverter.UInt32BitsToSingle(half << 16 | half);
        });
    }

    private MomentTensors[] Moments()
    {
        var data = new TestData(42);
        return [.. Counts.Select((count, i) =>
        {
            float[] w = data.Normal(count), g = data.Normal(count), m = data.Normal(count), v = data.Uniform(count, 0.1f, 1),
                start = data.Normal(count);
            return new MomentTensors(
                i % 7 == 6 ? null : From([count], w), From([count], g), i % 2 == 0 ? From([count], m) : null,
                i % 3 == 0 || i % 7 == 6 ? From([count], v) : null,
                i % 4 == 3 ? From([count], start) : null);
        })];
    }

    private static void Same(int i, ReadOnlySpan<(Tensor? One, Tensor? Other)> pairs)
    {
        foreach ((Tensor? one, Tensor? other) in pairs)
        {
            if (one is not null)
                Compare.SameBits($"tensor {i}", one.ToArray(), other!.ToArray());
        }
    }
}

public sealed class OpenClCommitLaunchTests() : CommitLaunchTests("opencl", large: 200_001);

// Slow, so the large tensor is one of a few groups.
[Collection(typeof(IlgpuCpuCollection))]
public sealed class IlgpuCpuCommitLaunchTests() : CommitLaunchTests("ilgpu-cpu", large: 300);
