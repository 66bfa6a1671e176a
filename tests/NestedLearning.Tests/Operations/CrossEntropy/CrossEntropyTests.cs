using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public abstract class CrossEntropyTests(string backend) : DenseTests(backend)
{
    private static readonly int[] s_classes = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 256, 513, 1025];

    [Fact]
    public void Forward_MatchesReference()
    {
        foreach (int classes in s_classes)
        {
            foreach (int count in (ReadOnlySpan<int>)[1, 2, 9])
            {
                var c = new Case(this, count, classes, 3);
                (Tensor losses, Tensor logSums) = c.Forward();
                (double[] expectedLosses, double[] expectedSums) = ReferenceDense.CrossEntropy(Elements(c.Logits), c.Targets.ToArray(),
                    classes);
                Compare.Close($"losses of {c.Logits.Shape}", losses, expectedLosses, Tolerances.CrossEntropy.Forward);
                Compare.Close($"logSums of {c.Logits.Shape}", logSums, expectedSums, Tolerances.CrossEntropy.Forward);
                EndCase();
            }
        }
    }

    [Fact]
    public void Backward_MatchesReference()
    {
        foreach (int classes in s_classes)
        {
            foreach (int count in (ReadOnlySpan<int>)[1, 2, 9])
            {
                var c = new Case(this, count, classes, 3);
                Tensor dLogits = Output([count, classes]);
                CrossEntropy.Backward(c.Logits, c.Targets, c.Forward().LogSums, c.DLosses, dLogits);
                Compare.Close(
                    $"dLogits of {c.Logits.Shape}", dLogits,
                    ReferenceDense.CrossEntropyBackward(Elements(c.Logits), c.Targets.ToArray(), classes, Elements(c.DLosses)),
                    Tolerances.CrossEntropy.Gradient);
                EndCase();
            }
        }
    }

    [Fact]
    public void WithGradient_MatchesReference()
    {
        foreach (int classes in s_classes)
        {
            foreach (int count in (ReadOnlySpan<int>)[1, 2, 9])
            {
                var c = new Case(this, count, classes, 3);
                Tensor losses = Output([count]), dLogits = Output([count, classes]);
                CrossEntropy.WithGradient(c.Logits, c.Targets, 0.75f, losses, dLogits);
                double[] dLosses = new double[count];
                dLosses.AsSpan().Fill(0.75);
                int[] targets = c.Targets.ToArray();
                Compare.Close($"losses of {c.Logits.Shape}", losses,
                    ReferenceDense.CrossEntropy(Elements(c.Logits), targets, classes).Losses, Tolerances.CrossEntropy.Forward);
                Compare.Close(
                    $"dLogits of {c.Logits.Shape}", dLogits,
                    ReferenceDense.CrossEntropyBackward(Elements(c.Logits), targets, classes, dLosses), Tolerances.CrossEntropy.Gradient);
                Tensor inPlace = InOut([count, classes], c.Logits.ToArray());
                CrossEntropy.WithGradient(inPlace, c.Targets, 0.75f, losses, inPlace);
                Compare.SameBits("dLogits in place", inPlace.ToArray(), dLogits.ToArray());
                EndCase();
            }
        }
    }

    [Fact]
    public void WithGradient_NanStaysInItsRow()
    {
        float[] logits = new TestData(6).Normal(3 * 21);
        logits[21 + 9] = float.NaN;
        using IndexTensor targets = Device.FromIndices([3], [1, 2, 3]), ignored = Device.FromIndices([3], [1, -1, 3]);
        Tensor x = Input([3, 21], logits), losses = Output([3]), dLogits = Output([3, 21]);
        CrossEntropy.WithGradient(x, targets, 1, losses, dLogits);
        Assert.Equal([false, true, false], losses.ToArray().Select(float.IsNaN));
        Assert.Equal(Enumerable.Range(0, 63).Select(i => i / 21 == 1), dLogits.ToArray().Select(float.IsNaN));
        CrossEntropy.WithGradient(x, ignored, 1, losses, dLogits);
        Compare.Finite("losses", losses.ToArray());
        Compare.Finite("dLogits", dLogits.ToArray());
        Assert.All(dLogits.ToArray()[21..42], g => Assert.Equal(0, g));
    }

    [Fact]
    public void IgnoredTarget_HasNoLossAndNoGradient()
    {
        float[] logits = new TestData(1).Normal(3 * 17);
        logits[17 + 4] = float.NaN;
        using IndexTensor targets = Device.FromIndices([3], [5, -1, 16]);
        Tensor x = Input([3, 17], logits), losses = Output([3]), logSums = Output([3]), dLogits = Output([3, 17]);
        CrossEntropy.Forward(x, targets, losses, logSums);
        CrossEntropy.Backward(x, targets, logSums, Input([3], [1f, 1f, 1f]), dLogits);
        Assert.Equal(0f, losses.ToArray()[1]);
        Assert.All(dLogits.ToArray()[17..34], g => Assert.Equal(0f, g));
        Compare.Finite("losses", losses.ToArray());
        Compare.Finite("dLogits", dLogits.ToArray());
        Assert.All(dLogits.ToArray()[..17], g => Assert.NotEqual(0f, g));
    }

    [Fact]
    public void AllTargetsIgnored_GiveZeros()
    {
        using IndexTensor targets = Device.FromIndices([2], [-1, -1]);
        Tensor x = Input([2, 5], new TestData(2).Normal(10)), losses = Output([2]), logSums = Output([2]), dLogits = Output([2, 5]);
        CrossEntropy.Forward(x, targets, losses, logSums);
        CrossEntropy.Backward(x, targets, logSums, Input([2], [1f, float.NaN]), dLogits);
        Assert.Equal([0f, 0f], losses.ToArray());
        Compare.Finite("logSums", logSums.ToArray());
        Assert.All(dLogits.ToArray(), g => Assert.Equal(0f, g));
    }

    [Theory]
    [InlineData(1e4f)]
    [InlineData(-1e4f)]
    [InlineData(100f)]
    [InlineData(-100f)]
    public void CommonShift_DoesNotMatter(float shift)
    {
        // Quarter steps, so that the shift rounds nothing.
        int[] steps = new TestData(3).Below(4 * 33, 40);
        float[] logits = Array.ConvertAll(steps, s => s * 0.25f);
        using IndexTensor targets = Device.FromIndices([4], [0, 32, 7, 19]);
        Tensor x = Input([4, 33], Array.ConvertAll(logits, e => e + shift)), losses = Output([4]), logSums = Output([4]),
            dLogits = Output([4, 33]);
        CrossEntropy.Forward(x, targets, losses, logSums);
        (double[] expected, _) = ReferenceDense.CrossEntropy(Compare.ToDouble(logits), targets.ToArray(), 33);

        // At 1e4 the logsumexp, and so the loss of a kernel that subtracts in float32, is rounded to 1e-3.
        double rounding = Math.Abs(shift) * 6e-8;
        float[] actual = losses.ToArray();
        for (int n = 0; n < 4; n++)
            Assert.Equal(expected[n], actual[n], Tolerances.CrossEntropy.Forward * Math.Max(1, expected[n]) + rounding);
        CrossEntropy.Backward(x, targets, logSums, Input([4], [1f, 1f, 1f, 1f]), dLogits);
        double[] gradient = ReferenceDense.CrossEntropyBackward(Compare.ToDouble(logits), targets.ToArray(), 33, [1, 1, 1, 1]);
        Compare.Close("dLogits", dLogits, gradient, Tolerances.CrossEntropy.Gradient + rounding);
    }

    [Fact]
    public void CertainAndHopelessTargets_AreExact()
    {
        using IndexTensor targets = Device.FromIndices([2], [0, 1]);
        Tensor x = Input([2, 2], [200f, -200f, 200f, -200f]), losses = Output([2]), logSums = Output([2]), dLogits = Output([2, 2]);
        CrossEntropy.Forward(x, targets, losses, logSums);
        CrossEntropy.Backward(x, targets, logSums, Input([2], [1f, 1f]), dLogits);
        Assert.Equal([0f, 400f], losses.ToArray());
        Assert.Equal([0f, 0f, 1f, -1f], dLogits.ToArray());
    }

    [Fact]
    public void MaskedLogit_TakesNoPart()
    {
        float[] logits = new TestData(4).Normal(12), kept = logits[..^1];
        logits[^1] = float.NegativeInfinity;
        using IndexTensor targets = Device.FromIndices([1], [3]);
        Tensor x = Input([1, 12], logits), losses = Output([1]), logSums = Output([1]), dLogits = Output([1, 12]);
        CrossEntropy.Forward(x, targets, losses, logSums);
        CrossEntropy.Backward(x, targets, logSums, Input([1], [1f]), dLogits);
        (double[] expected, _) = ReferenceDense.CrossEntropy(Compare.ToDouble(kept), [3], 11);
        Compare.Close("losses", losses, expected, Tolerances.CrossEntropy.Forward);
        double[] gradient = [.. ReferenceDense.CrossEntropyBackward(Compare.ToDouble(kept), [3], 11, [1]), 0];
        Compare.Close("dLogits", dLogits, gradient, Tolerances.CrossEntropy.Gradient);
        Assert.Equal(0f, dLogits.ToArray()[11]);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(9)]
    [InlineData(20)]
    public void Nan_StaysInItsRow(int at)
    {
        float[] logits = new TestData(5).Normal(3 * 21);
        logits[21 + at] = float.NaN;
        using IndexTensor targets = Device.FromIndices([3], [1, 2, 3]);
        Tensor x = Input([3, 21], logits), losses = Output([3]), logSums = Output([3]), dLogits = Output([3, 21]);
        CrossEntropy.Forward(x, targets, losses, logSums);
        CrossEntropy.Backward(x, targets, logSums, Input([3], [1f, 1f, 1f]), dLogits);
        Assert.Equal([false, true, false], losses.ToArray().Select(float.IsNaN));
        Assert.Equal([false, true, false], logSums.ToArray().Select(float.IsNaN));
        Assert.Equal(Enumerable.Range(0, 63).Select(i => i / 21 == 1), dLogits.ToArray().Select(float.IsNaN));
    }

    [Fact]
    public void Gradient_MayOverwriteLogits()
    {
        foreach (int classes in (ReadOnlySpan<int>)[1, 5, 8, 33, 256])
        {
            var c = new Case(this, 6, classes, 3);
            Tensor logSums = c.Forward().LogSums, dLogits = Output([6, classes]);
            CrossEntropy.Backward(c.Logits, c.Targets, logSums, c.DLosses, dLogits);
            Tensor inPlace = InOut([6, classes], c.Logits.ToArray());
            CrossEntropy.Backward(inPlace, c.Targets, logSums, c.DLosses, inPlace);
            Compare.SameBits("dLogits", inPlace.ToArray(), dLogits.ToArray());
            EndCase();
        }
    }

    [LargeFact]
    public void Threads_DoNotChangeBits()
    {
        SameBitsForAnyThreads(() =>
        {
            var c = new Case(this, 101, 261, 3);
            (Tensor losses, Tensor logSums) = c.Forward();
            Tensor dLogits = Output([101, 261]);
            CrossEntropy.Backward(c.Logits, c.Targets, logSums, c.DLosses, dLogits);
            return [("losses", losses.ToArray()), ("logSums", logSums.ToArray()), ("dLogits", dLogits.ToArray()), .. WithGradient(c)];
        });

        (string, float[])[] WithGradient(Case c)
        {
            Tensor losses = Output([101]), dLogits = Output([101, 261]);
            CrossEntropy.WithGradient(c.Logits, c.Targets, 2, losses, dLogits);
            return [("losses with gradient", losses.ToArray()), ("dLogits with gradient", dLogits.ToArray())];
        }
    }

    private sealed class Case
    {
        private readonly CrossEntropyTests _tests;

        public Case(CrossEntropyTests tests, int count, int classes, float deviation)
        {
            _tests = tests;
            var data = new TestData((ulong)(count * 10_000 + classes));
            Logits = tests.Input([count, classes], data.Normal(count * classes, deviation));
            DLosses = tests.Input([count], data.Uniform(count, 0.5f, 1.5f));
            int[] targets = data.Below(count, classes);
            targets[^1] = classes - 1;
            if (count > 2)
                targets[count / 2] = -1;
            Targets = tests.Device.FromIndices([count], targets);
        }

        public Tensor Logits { get; }

        public Tensor DLosses { get; }

        public IndexTensor Targets { get; }

        public (Tensor Losses, Tensor LogSums) Forward()
        {
            Tensor losses = _tests.Output([Targets.Count]), logSums = _tests.Output([Targets.Count]);
            CrossEntropy.Forward(Logits, Targets, losses, logSums);
            return (losses, logSums);
        }
    }
}

public sealed class ManagedCrossEntropyTests() : CrossEntropyTests("managed");

public sealed class CpuCrossEntropyTests() : CrossEntropyTests("cpu");
