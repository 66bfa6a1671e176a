using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public abstract class AdamTests(string backend) : DenseTests(backend)
{
    private static readonly AdamSettings s_plain = new(1e-2f, 0.9, 0.999, 1e-8f, 0, false, 1, 1);

    [Theory]
    [InlineData(0f, false, 1f)]
    [InlineData(0.1f, false, 1f)]
    [InlineData(0.1f, true, 1f)]
    [InlineData(0.1f, false, 0.25f)]
    [InlineData(0.1f, true, 0.25f)]
    public void Step_MatchesReference(float weightDecay, bool decoupled, float gradientScale)
    {
        foreach (int count in (ReadOnlySpan<int>)[1, 2, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65, 1000, 16385])
        {
            foreach (long step in (ReadOnlySpan<long>)[1, 2, 100, 1_000_000])
            {
                AdamSettings settings = s_plain with { WeightDecay = weightDecay, Decoupled = decoupled, GradientScale = gradientScale, Step = step };
                var data = new TestData((ulong)count);
                float[] w = data.Normal(count), g = data.Normal(count), m = data.Normal(count, 0.3f), v = data.Uniform(count, 0.05f, 1);
                Check($"[{count}] at step {step}", w, g, m, v, settings);
            }
        }
    }

    [Fact]
    public void ManySteps_FollowTheReference()
    {
        const int Count = 50;
        var data = new TestData(1);
        float[] start = data.Normal(Count);
        Tensor w = InOut([Count], start), m = InOut([Count], new float[Count]), v = InOut([Count], new float[Count]);
        double[] expectedW = Compare.ToDouble(start), expectedM = new double[Count], expectedV = new double[Count];
        for (int step = 1; step <= 20; step++)
        {
            AdamSettings settings = s_plain with { Step = step, WeightDecay = 0.05f, Decoupled = step % 2 == 0 };
            float[] g = data.Normal(Count);
            Dense.AdamCommit(w, Input([Count], g), m, v, settings);
            ReferenceDense.Adam(expectedW, Compare.ToDouble(g), expectedM, expectedV, settings);
        }

        Compare.Close("w", w, expectedW, Tolerances.Optimizer.Forward);
        Compare.Close("m", m, expectedM, Tolerances.Optimizer.Forward);
        Compare.Close("v", v, expectedV, Tolerances.Optimizer.Forward);
    }

    [Fact]
    public void FirstStep_HasTheLearningRatesLength()
    {
        // At step 1 the corrected moments are g and g²: w moves by η against g's sign, whatever g's size.
        float[] g = [1e-3f, -1e-3f, 1f, -1f, 1e3f, -1e3f];
        Tensor w = InOut([6], new float[6]);
        Dense.AdamCommit(w, Input([6], g), InOut([6], new float[6]), InOut([6], new float[6]), s_plain);
        Compare.Close("w", w, Array.ConvertAll(g, e => -1e-2 * Math.Sign(e)), 2 * Tolerances.Optimizer.Forward);
    }

    [Fact]
    public void NoGradientEver_LeavesWeights()
    {
        float[] start = new TestData(2).Normal(19);
        Tensor w = InOut([19], start), m = InOut([19], new float[19]), v = InOut([19], new float[19]);
        Dense.AdamCommit(w, Input([19], new float[19]), m, v, s_plain);
        Compare.SameBits("w", w.ToArray(), start);
        Assert.All(m.ToArray(), e => Assert.Equal(0f, e));
        Assert.All(v.ToArray(), e => Assert.Equal(0f, e));
    }

    [Fact]
    public void Nan_StaysInItsElement()
    {
        float[] g = new TestData(3).Normal(21);
        g[20] = float.NaN;
        Tensor w = InOut([21], new TestData(4).Normal(21)), m = InOut([21], new float[21]), v = InOut([21], new float[21]);
        Dense.AdamCommit(w, Input([21], g), m, v, s_plain);
        foreach (Tensor result in (ReadOnlySpan<Tensor>)[w, m, v])
            Assert.Equal(Enumerable.Range(0, 21).Select(i => i == 20), result.ToArray().Select(float.IsNaN));
    }

    [Fact]
    public void Threads_DoNotChangeBits()
    {
        const int Count = 150_001;
        var data = new TestData(5);
        float[] w = data.Normal(Count), g = data.Normal(Count), m = data.Normal(Count, 0.3f), v = data.Uniform(Count, 0, 1);
        SameBitsForAnyThreads(() =>
        {
            Tensor weights = InOut([Count], w), first = InOut([Count], m), second = InOut([Count], v);
            Dense.AdamCommit(weights, Input([Count], g), first, second, s_plain with { WeightDecay = 0.1f, Step = 7 });
            return [("w", weights.ToArray()), ("m", first.ToArray()), ("v", second.ToArray())];
        });
    }

    private void Check(string name, float[] w, float[] g, float[] m, float[] v, AdamSettings settings)
    {
        Tensor weights = InOut([w.Length], w), first = InOut([w.Length], m), second = InOut([w.Length], v);
        double[] expectedW = Compare.ToDouble(w), expectedM = Compare.ToDouble(m), expectedV = Compare.ToDouble(v);
        Dense.AdamCommit(weights, Input([w.Length], g), first, second, settings);
        ReferenceDense.Adam(expectedW, Compare.ToDouble(g), expectedM, expectedV, settings);
        Compare.Close($"w of {name}", weights, expectedW, Tolerances.Optimizer.Forward);
        Compare.Close($"m of {name}", first, expectedM, Tolerances.Optimizer.Forward);
        Compare.Close($"v of {name}", second, expectedV, Tolerances.Optimizer.Forward);
        EndCase();
    }
}

public sealed class ManagedAdamTests() : AdamTests("managed");

public sealed class CpuAdamTests() : AdamTests("cpu");
