using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public abstract class MomentCommitTests(string backend) : DenseTests(backend)
{
    private static readonly MomentSettings s_all = new()
    {
        LearningRate = 0.05f,
        GradientScale = 0.5f,
        Keep1 = 0.9f,
        Write1 = 0.25f,
        Keep2 = 0.99f,
        Write2 = 0.125f,
        ReadMoment = 0.75f,
        ReadGradient = 0.3f,
        Decay = 0.01f,
        Epsilon = 0.01f,
    };

    /// <summary>Which of w, m, v and start are given.</summary>
    public static TheoryData<bool, bool, bool, bool> Presence { get; } =
        [.. from w in Both() from m in Both() from v in Both() from start in Both()
        where w || (!start && (m || v)) select (w, m, v, start)];

    [Theory]
    [MemberData(nameof(Presence))]
    public void Commit_MatchesTheEquations(bool w, bool m, bool v, bool start)
    {
        foreach (int count in Small([0, 1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 1000, 1025, 16_385], n => n))
        {
            var data = new TestData((ulong)count);
            MomentTensors tensors = Tensors(data, count, w, m, v, start);
            double[]? oldW = Values(tensors.W), oldM = Values(tensors.M), oldV = Values(tensors.V), from = Values(tensors.Start) ?? oldW;
            double[] g = Elements(tensors.G);
            MomentCommit.Apply(tensors, s_all);
            double[] newM = new double[count], newV = new double[count], newW = new double[count];
            for (int i = 0; i < count; i++)
            {
                double gradient = (double)s_all.GradientScale * g[i];
                newM[i] = m ? (double)s_all.Keep1 * oldM![i] + (double)s_all.Write1 * gradient : 0;
                newV[i] = v ? (double)s_all.Keep2 * oldV![i] + (double)s_all.Write2 * gradient * gradient : 0;
                double read = (double)s_all.ReadMoment * newM[i] + (double)s_all.ReadGradient * gradient;
                double root = v ? Math.Sqrt(newV[i]) + s_all.Epsilon : 1;
                newW[i] = w ? from![i] - ((double)s_all.Decay * from[i] + (double)s_all.LearningRate * read / root) : 0;
            }

            if (w)
                Compare.Close("w", tensors.W!, newW, Tolerances.Optimizer.Forward);
            if (m)
                Compare.Close("m", tensors.M!, newM, Tolerances.Optimizer.Forward);
            if (v)
                Compare.Close("v", tensors.V!, newV, Tolerances.Optimizer.Forward);
            EndCase();
        }
    }

    [Fact]
    public void EveryBackend_HasTheSameBits()
    {
        using Device managed = Device.Open("managed");
        foreach (int count in (ReadOnlySpan<int>)[1, 7, 65, 20_000])
        {
            MomentTensors here = Tensors(new TestData(1), count, true, true, true, true);
            Tensor There(Tensor tensor) => Track(managed.From(tensor.Shape, tensor.ToArray()));
            var there = new MomentTensors(There(here.W!), There(here.G), There(here.M!), There(here.V!), There(here.Start!));
            MomentCommit.Apply(here, s_all);
            MomentCommit.Apply(there, s_all);
            Compare.SameBits("w", here.W!.ToArray(), there.W!.ToArray());
            Compare.SameBits("m", here.M!.ToArray(), there.M!.ToArray());
            Compare.SameBits("v", here.V!.ToArray(), there.V!.ToArray());
            EndCase();
        }
    }

    [Fact]
    public void ManyTensors_AreCommittedAsEachAlone_AndMeasured()
    {
        int[] counts = [5, 0, 16_384, 16_385, 1, 70_000, 1023];
        MomentTensors[] Make()
        {
            var data = new TestData(2);
            return [.. counts.Select((count, i) => Tensors(data, count, i != 4, i % 2 == 0, i % 3 != 1, i == 5, cleared: true))];
        }

        MomentTensors[] together = Make(), apart = Make();
        MomentSettings[] settings = [.. counts.Select((_, i) => s_all with { LearningRate = 0.01f * (i + 1), ClearGradient = i != 0 })];
        float[]?[] before = Array.ConvertAll(together, t => t.W?.ToArray());
        var changes = new CommitChange[counts.Length];
        MomentCommit.Apply(together, settings, changes);
        for (int i = 0; i < counts.Length; i++)
        {
            MomentCommit.Apply(apart[i], settings[i]);
            foreach ((Tensor? one, Tensor? other) in ((Tensor?, Tensor?)[])[(together[i].W, apart[i].W), (together[i].M, apart[i].M),
                (together[i].V, apart[i].V), (together[i].G, apart[i].G)])
            {
                Assert.Equal(one is null, other is null);
                if (one is not null)
                    Compare.SameBits($"tensor {i}", one.ToArray(), other!.ToArray());
            }

            Assert.Equal(i != 0 && counts[i] > 0, together[i].G.ToArray() is [0, ..]);
            float[] after = together[i].W?.ToArray() ?? [], old = before[i] ?? [];
            double change = old.Zip(after).Sum(p => ((double)p.Second - p.First) * ((double)p.Second - p.First)),
                value = old.Sum(x => (double)x * x);
            Assert.Equal(change, changes[i].Change, Tolerances.SumOfSquares * change);
            Assert.Equal(value, changes[i].Value, Tolerances.SumOfSquares * value);
        }
    }

    [LargeFact]
    public void Threads_DoNotChangeBits() => SameBitsForAnyThreads(() =>
    {
        var data = new TestData(3);
        MomentTensors[] tensors = [Tensors(data, 50_001, true, true, true, false), Tensors(data, 3, true, true, false, true),
            Tensors(data, 70_000, true, false, true, false)];
        var changes = new CommitChange[3];
        MomentCommit.Apply(tensors, [s_all, s_all, s_all], changes);
        return [.. tensors.Select(t => ("w", t.W!.ToArray())), ("v", tensors[0].V!.ToArray()),
            ("changes", [.. changes.Select(c => (float)c.Change)])];
    });

    [Fact]
    public void Nan_StaysInItsElement()
    {
        MomentTensors tensors = Tensors(new TestData(4), 21, true, true, true, false, cleared: true);
        float[] g = new TestData(5).Normal(21);
        g[20] = float.NaN;
        g[3] = float.PositiveInfinity;
        tensors.G.CopyFrom(g);
        MomentCommit.Apply(tensors, s_all with { ReadGradient = 0, GradientIsBounded = true });
        Assert.Equal(Enumerable.Range(0, 21).Select(i => i is 3 or 20), tensors.W!.ToArray().Select(float.IsNaN));
        Assert.Equal(Enumerable.Range(0, 21).Select(i => i is 20), tensors.M!.ToArray().Select(float.IsNaN));
    }

    [Fact]
    public void BadArguments_AreRefused_AndNothingIsWritten()
    {
        var data = new TestData(6);
        MomentTensors good = Tensors(data, 20, true, true, true, true);
        Tensor small = InOut([10], new float[10]);
        float[] before = good.W!.ToArray();
        string Refused(MomentTensors[] tensors, MomentSettings? settings = null, int changes = 0) =>
            Assert.ThrowsAny<ArgumentException>(() =>
                MomentCommit.Apply(tensors, [.. tensors.Select(_ => settings ?? s_all)], new CommitChange[changes])).Message;

        Assert.Contains("w has shape [10], expected [20]", Refused([good with { W = small }]), StringComparison.Ordinal);
        Assert.Contains("m has shape [10], expected [20]", Refused([good with { M = small }]), StringComparison.Ordinal);
        Assert.Contains("start has shape [10], expected [20]", Refused([good with { Start = small }]), StringComparison.Ordinal);
        Assert.Contains("neither w nor m nor v", Refused([new MomentTensors(null, good.G)]), StringComparison.Ordinal);
        Assert.Contains("3 changes", Refused([good], null, 3), StringComparison.Ordinal);
        Assert.Contains("shares memory", Refused([good, good]), StringComparison.Ordinal);
        Assert.Contains("shares memory", Refused([good with { M = good.W }]), StringComparison.Ordinal);
        Assert.Contains("reads what is written", Refused([good with { G = good.V! }]), StringComparison.Ordinal);
        Assert.Contains("reads what is written", Refused([good with { Start = good.M }]), StringComparison.Ordinal);
        Assert.Contains("keep1 is NaN", Refused([good], s_all with { Keep1 = float.NaN }), StringComparison.Ordinal);
        Assert.Contains("epsilon is -1", Refused([good], s_all with { Epsilon = -1 }), StringComparison.Ordinal);
        Compare.SameBits("w", good.W.ToArray(), before);
        MomentCommit.Apply([], [], []);
    }

    private static bool[] Both() => [false, true];

    private static double[]? Values(Tensor? tensor) => tensor is null ? null : Elements(tensor);

    private MomentTensors Tensors(TestData data, int count, bool w, bool m, bool v, bool start, bool cleared = false)
    {
        float[] weight = data.Normal(count), g = data.Normal(count), first = data.Normal(count), second = data.Uniform(count, 0.05f, 1),
            from = data.Normal(count);
        return new MomentTensors(
            w ? InOut([count], weight) : null,
            cleared ? InOut([count], g) : Input([count], g),
            m ? InOut([count], first) : null,
            v ? InOut([count], second) : null,
            start ? Input([count], from) : null);
    }
}

public sealed class ManagedMomentCommitTests() : MomentCommitTests("managed");

public sealed class CpuMomentCommitTests() : MomentCommitTests("cpu");
