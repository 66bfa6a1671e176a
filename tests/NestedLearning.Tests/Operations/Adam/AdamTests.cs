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
                AdamSettings settings = s_plain with
                {
                    WeightDecay = weightDecay,
                    Decoupled = decoupled,
                    GradientScale = gradientScale,
                    Step = step,
                };
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
            AdamCommit.Apply(w, Input([Count], g), m, v, settings);
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
        AdamCommit.Apply(w, Input([6], g), InOut([6], new float[6]), InOut([6], new float[6]), s_plain);
        Compare.Close("w", w, Array.ConvertAll(g, e => -1e-2 * Math.Sign(e)), 2 * Tolerances.Optimizer.Forward);
    }

    [Fact]
    public void NoGradientEver_LeavesWeights()
    {
        float[] start = new TestData(2).Normal(19);
        Tensor w = InOut([19], start), m = InOut([19], new float[19]), v = InOut([19], new float[19]);
        AdamCommit.Apply(w, Input([19], new float[19]), m, v, s_plain);
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
        AdamCommit.Apply(w, Input([21], g), m, v, s_plain with { GradientIsBounded = true });
        foreach (Tensor result in (ReadOnlySpan<Tensor>)[w, m, v])
            Assert.Equal(Enumerable.Range(0, 21).Select(i => i == 20), result.ToArray().Select(float.IsNaN));
    }

    [LargeFact]
    public void Threads_DoNotChangeBits()
    {
        const int Count = 150_001;
        var data = new TestData(5);
        float[] w = data.Normal(Count), g = data.Normal(Count), m = data.Normal(Count, 0.3f), v = data.Uniform(Count, 0, 1);
        SameBitsForAnyThreads(() =>
        {
            Tensor weights = InOut([Count], w), first = InOut([Count], m), second = InOut([Count], v);
            AdamCommit.Apply(weights, Input([Count], g), first, second, s_plain with { WeightDecay = 0.1f, Step = 7 });
            return [("w", weights.ToArray()), ("m", first.ToArray()), ("v", second.ToArray())];
        });
    }

    [Fact]
    public void ManyTensors_AreCommittedAsEachAlone()
    {
        // Empty, tiny, around a piece, and of several pieces; each with settings of its own.
        int[] counts = [5, 0, 16_383, 16_384, 0, 16_385, 1, 70_000, 64];
        var data = new TestData(6);
        var tensors = new AdamTensors[counts.Length];
        var settings = new AdamSettings[counts.Length];
        var expected = new float[counts.Length][][];
        for (int i = 0; i < counts.Length; i++)
        {
            Shape shape = [counts[i]];
            float[] w = data.Normal(shape), g = data.Normal(shape), m = data.Normal(shape, 0.3f), v = data.Uniform(shape, 0.05f, 1);
            tensors[i] = new AdamTensors(InOut(shape, w), Input(shape, g), InOut(shape, m), InOut(shape, v), Decays: i % 2 == 0);
            settings[i] = s_plain with { LearningRate = 1e-3f * (i + 1), Step = i + 1, WeightDecay = 0.1f, Decoupled = i % 3 != 0 };
            Tensor alone = InOut(shape, w), first = InOut(shape, m), second = InOut(shape, v);
            AdamCommit.Apply(alone, tensors[i].G, first, second, i % 2 == 0 ? settings[i] : settings[i] with { WeightDecay = 0 });
            expected[i] = [alone.ToArray(), first.ToArray(), second.ToArray()];
        }

        AdamCommit.Apply(tensors, settings, []);
        for (int i = 0; i < counts.Length; i++)
        {
            Compare.SameBits($"w {i}", tensors[i].W.ToArray(), expected[i][0]);
            Compare.SameBits($"m {i}", tensors[i].M.ToArray(), expected[i][1]);
            Compare.SameBits($"v {i}", tensors[i].V.ToArray(), expected[i][2]);
        }
    }

    [LargeTheory]
    [InlineData(MomentPrecision.Float32)]
    [InlineData(MomentPrecision.BFloat16)]
    public void ManyTensors_Threads_DoNotChangeBits(MomentPrecision moments)
    {
        int[] counts = [50_001, 3, 70_000];
        SameBitsForAnyThreads(() =>
        {
            var data = new TestData(7);
            AdamTensors[] tensors = Array.ConvertAll(counts, count => Tensors(data, count, moments));
            var changes = new CommitChange[counts.Length];
            AdamCommit.Apply(tensors, [.. counts.Select(c => s_plain with { Moments = moments, Seed = (ulong)c })], changes);
            return
            [
                .. tensors.Select(t => ("w", t.W.ToArray())), .. tensors.Select(t => ("m", t.M.ToArray())),
                    .. tensors.Select(t => ("v", t.V.ToArray())),
                ("changes", changes.Select(c => (float)c.Change).ToArray()),
            ];
        });
    }

    [Theory]
    [InlineData(MomentPrecision.Float32)]
    [InlineData(MomentPrecision.BFloat16)]
    public void Changes_AreMeasuredAndGradientsCleared(MomentPrecision moments)
    {
        int[] counts = [0, 1, 7, 1023, 1025, 40_000];
        var data = new TestData(8);
        AdamTensors[] tensors = Array.ConvertAll(counts, count => Tensors(data, count, moments));
        float[][] before = Array.ConvertAll(tensors, t => t.W.ToArray());
        AdamSettings settings = s_plain with { ClearGradient = true, Moments = moments };
        var changes = new CommitChange[counts.Length];
        AdamCommit.Apply(tensors, [.. counts.Select(_ => settings)], changes);
        for (int i = 0; i < counts.Length; i++)
        {
            float[] after = tensors[i].W.ToArray();
            double change = before[i].Zip(after).Sum(p => ((double)p.Second - p.First) * ((double)p.Second - p.First));
            double value = before[i].Sum(x => (double)x * x);
            Assert.Equal(change, changes[i].Change, Tolerances.SumOfSquares * change);
            Assert.Equal(value, changes[i].Value, Tolerances.SumOfSquares * value);
            Assert.All(tensors[i].G.ToArray(), g => Assert.Equal(0, g));
        }
    }

    [Fact]
    public void ManyTensors_WithOneSettings_TakeSeedsInOrder()
    {
        AdamSettings settings = s_plain with { Moments = MomentPrecision.BFloat16, Seed = 41 };
        AdamTensors[] Make()
        {
            var data = new TestData(9);
            return [Tensors(data, 300, settings.Moments), Tensors(data, 200, settings.Moments)];
        }

        AdamTensors[] together = Make(), apart = Make();
        AdamCommit.Apply(together, settings);
        AdamCommit.Apply(apart[0].W, apart[0].G, apart[0].M, apart[0].V, settings);
        AdamCommit.Apply(apart[1].W, apart[1].G, apart[1].M, apart[1].V, settings with { Seed = 42 });
        for (int i = 0; i < 2; i++)
            Compare.SameBits("m", together[i].M.ToArray(), apart[i].M.ToArray());
    }

    [Fact]
    public void BadArguments_AreRefused_AndNothingIsWritten()
    {
        var data = new TestData(10);
        AdamTensors good = Tensors(data, 20, MomentPrecision.Float32), bad = Tensors(data, 20, MomentPrecision.BFloat16);
        float[] before = good.W.ToArray();
        ArgumentException Refused(AdamTensors[] tensors, AdamSettings[] settings, int changes = 0) =>
            Assert.ThrowsAny<ArgumentException>(() => AdamCommit.Apply(tensors, settings, new CommitChange[changes]));

        Assert.Contains("[10]", Refused([good, bad], [s_plain, s_plain]).Message, StringComparison.Ordinal);
        Assert.Contains("1 settings", Refused([good, bad], [s_plain]).Message, StringComparison.Ordinal);
        Assert.Contains("1 changes", Refused([good, bad], [s_plain, s_plain], 1).Message, StringComparison.Ordinal);
        Assert.Contains("shares memory", Refused([good, good], [s_plain, s_plain]).Message, StringComparison.Ordinal);
        Assert.Contains("beta2 is 1", Refused([good], [s_plain with { Beta2 = 1 }]).Message, StringComparison.Ordinal);
        Assert.Contains("step is 0", Refused([good], [s_plain with { Step = 0 }]).Message, StringComparison.Ordinal);
        Assert.Contains("moments are 7", Refused([good], [s_plain with { Moments = (MomentPrecision)7 }]).Message,
            StringComparison.Ordinal);
        Compare.SameBits("w", good.W.ToArray(), before);
        AdamCommit.Apply([], [], []);
    }

    [Fact]
    public void HalfMoments_AreRoundedByTheCounterGenerator()
    {
        // With betas of 0 the moments are g and g² to the bit, and only the rounding is left.
        foreach (int count in (ReadOnlySpan<int>)[1, 2, 15, 16, 127, 128, 129, 1000, 16_385])
        {
            const ulong Seed = 0xFEDCBA9876543210;
            const long Step = 0x300000005;
            float[] g = new TestData(11).Normal(count);
            Tensor m = Halves(new float[count]), v = Halves(new float[count]);
            AdamCommit.Apply(InOut([count], new float[count]), Input([count], g), m, v, s_plain with
            {
                Beta1 = 0,
                Beta2 = 0,
                Step = Step,
                Moments = MomentPrecision.BFloat16,
                Seed = Seed,
            });
            float[] first = BFloat16.Unpack(m, count), second = BFloat16.Unpack(v, count);
            var random = new CounterRandom(Seed, Step);
            for (int e = 0; e < count; e++)
            {
                int i = e % 128 / 2;
                (uint a, uint b, uint c, uint d) = random.Block((ulong)(16 * (e / 128) + i % 32 / 2));
                uint bits = (new[] { a, b, c, d }[2 * (i / 32) + i % 2] >> (e % 2 * 16)) & 0xFFFF;
                Assert.Equal(Rounded(g[e], bits), first[e]);
                Assert.Equal(Rounded(g[e] * g[e], 0xFFFF - bits), second[e]);
            }

            EndCase();
        }

        static float Rounded(float x, uint bits) =>
            BitConverter.UInt32BitsToSingle((BitConverter.SingleToUInt32Bits(x) + bits) & 0xFFFF0000);
    }

    [LargeFact]
    public void HalfMoments_AreRightOnAverage()
    {
        // Each rounding is off by up to 2⁻⁷; the mean of n of them by their standard deviation over √n.
        const int Count = 64, Draws = 4096;
        float[] g = new TestData(12).Uniform(Count, 1, 2);
        double[] first = new double[Count], second = new double[Count];
        for (int draw = 0; draw < Draws; draw++)
        {
            Tensor m = Halves(new float[Count]), v = Halves(new float[Count]);
            AdamCommit.Apply(InOut([Count], new float[Count]), Input([Count], g), m, v, s_plain with
            {
                Beta1 = 0,
                Beta2 = 0,
                Moments = MomentPrecision.BFloat16,
                Seed = (ulong)draw,
            });
            float[] ms = BFloat16.Unpack(m, Count), vs = BFloat16.Unpack(v, Count);
            for (int i = 0; i < Count; i++)
            {
                first[i] += (double)ms[i] / Draws;
                second[i] += (double)vs[i] / Draws;
            }

            EndCase();
        }

        for (int i = 0; i < Count; i++)
        {
            // Five standard deviations of a mean of numbers that are one of two, 2⁻⁷ (or for v up to 2⁻⁶) apart.
            double spread = 5 * 0.5 / Math.Sqrt(Draws);
            Assert.InRange(first[i] - g[i], -spread / 128, spread / 128);
            double square = g[i] * g[i];
            Assert.InRange(second[i] - square, -spread / 32, spread / 32);
        }
    }

    [LargeFact]
    public void HalfMoments_ConvergeAsFloatMomentsDo()
    {
        // f(w) = ½ Σ c (w − 1)² with noise in the gradient; the second moment's steps of 10⁻³ are below what bfloat16
        // can tell apart, and would be lost by rounding to the nearest.
        const int Count = 200, Steps = 1500;
        double[] loss = new double[2];
        foreach (MomentPrecision moments in Enum.GetValues<MomentPrecision>())
        {
            var data = new TestData(13);
            float[] curvature = data.Uniform(Count, 0.5f, 2);
            bool half = moments == MomentPrecision.BFloat16;
            Tensor w = InOut([Count], new float[Count]);
            Tensor m = half ? Halves(new float[Count]) : InOut([Count], new float[Count]),
                v = half ? Halves(new float[Count]) : InOut([Count], new float[Count]);
            Tensor g = InOut([Count], new float[Count]);
            for (int step = 1; step <= Steps; step++)
            {
                float[] at = w.ToArray(), noise = data.Normal(Count, 0.1f);
                g.CopyFrom([.. at.Select((x, i) => curvature[i] * (x - 1) + noise[i])]);
                AdamCommit.Apply(w, g, m, v, s_plain with { LearningRate = 3e-3f, Step = step, Moments = moments, Seed = 5 });
            }

            loss[(int)moments] = w.ToArray().Select((x, i) => 0.5 * curvature[i] * (x - 1) * (x - 1)).Sum() / Count;
            EndCase();
        }

        Assert.InRange(loss[0], 0, 1e-3);
        Assert.InRange(loss[1], 0.8 * loss[0], 1.25 * loss[0]);
    }

    [Fact]
    public void HalfMoments_KeepNanInItsElement()
    {
        float[] g = new TestData(14).Normal(21);
        g[20] = BitConverter.UInt32BitsToSingle(0x7FFFFFFF);
        g[7] = float.PositiveInfinity;
        Tensor m = Halves(new float[21]), v = Halves(new float[21]);
        AdamCommit.Apply(InOut([21], new float[21]), Input([21], g), m, v,
            s_plain with { Moments = MomentPrecision.BFloat16, GradientIsBounded = true });
        foreach (Tensor moment in (ReadOnlySpan<Tensor>)[m, v])
        {
            float[] values = BFloat16.Unpack(moment, 21);
            Assert.Equal(Enumerable.Range(0, 21).Select(i => i == 20), values.Select(float.IsNaN));
            Assert.Equal(Enumerable.Range(0, 21).Select(i => i is not (20 or 7)), values.Select(float.IsFinite));
        }
    }

    /// <summary>Tensors of one commit, with moments that fit the weights.</summary>
    protected AdamTensors Tensors(TestData data, int count, MomentPrecision moments)
    {
        Tensor w = InOut([count], data.Normal(count)), g = InOut([count], data.Normal(count));
        float[] m = data.Normal(count, 0.3f), v = data.Uniform(count, 0.05f, 1);
        return moments == MomentPrecision.BFloat16
            ? new AdamTensors(w, g, Halves(m), Halves(v))
            : new AdamTensors(w, g, InOut([count], m), InOut([count], v));
    }

    /// <summary>Numbers cut off to bfloat16, two to an element.</summary>
    protected Tensor Halves(float[] values)
    {
        float[] packed = new float[BFloat16.PackedCount(values.Length)];
        for (int i = 0; i < packed.Length; i++)
        {
            uint high = 2 * i + 1 < values.Length ? BitConverter.SingleToUInt32Bits(values[2 * i + 1]) & 0xFFFF0000 : 0;
            packed[i] = BitConverter.UInt32BitsToSingle(high | BitConverter.SingleToUInt32Bits(values[2 * i]) >> 16);
        }

        return InOut([packed.Length], packed);
    }

    private void Check(string name, float[] w, float[] g, float[] m, float[] v, AdamSettings settings)
    {
        Tensor weights = InOut([w.Length], w), first = InOut([w.Length], m), second = InOut([w.Length], v);
        double[] expectedW = Compare.ToDouble(w), expectedM = Compare.ToDouble(m), expectedV = Compare.ToDouble(v);
        AdamCommit.Apply(weights, Input([w.Length], g), first, second, settings);
        ReferenceDense.Adam(expectedW, Compare.ToDouble(g), expectedM, expectedV, settings);
        Compare.Close($"w of {name}", weights, expectedW, Tolerances.Optimizer.Forward);
        Compare.Close($"m of {name}", first, expectedM, Tolerances.Optimizer.Forward);
        Compare.Close($"v of {name}", second, expectedV, Tolerances.Optimizer.Forward);
        EndCase();
    }
}

public sealed class ManagedAdamTests() : AdamTests("managed");

public sealed class CpuAdamTests() : AdamTests("cpu")
{
    [Theory]
    [InlineData(MomentPrecision.Float32)]
    [InlineData(MomentPrecision.BFloat16)]
    public void Steps_HaveTheManagedBackendsBits(MomentPrecision moments)
    {
        using var managed = Device.Open("managed");
        foreach (int count in (ReadOnlySpan<int>)[1, 17, 129, 20_000])
        {
            AdamTensors here = Tensors(new TestData(15), count, moments);
            using Tensor w = Copy(here.W), g = Copy(here.G), m = Copy(here.M), v = Copy(here.V);
            for (int step = 1; step <= 5; step++)
            {
                var settings = new AdamSettings(1e-2f, 0.9, 0.999, 1e-8f, 0.1f, step % 2 == 0, step, 0.7f) { Moments = moments, Seed = 99 };
                AdamCommit.Apply(here.W, here.G, here.M, here.V, settings);
                AdamCommit.Apply(w, g, m, v, settings);
            }

            Compare.SameBits("w", here.W.ToArray(), w.ToArray());
            Compare.SameBits("m", here.M.ToArray(), m.ToArray());
            Compare.SameBits("v", here.V.ToArray(), v.ToArray());
            EndCase();
        }

        Tensor Copy(Tensor tensor) => managed.From(tensor.Shape, tensor.ToArray());
    }

    // Gradients, weights and moments over the whole range of float32 and below it: subnormal numbers are zeros in every step, so
    // that backends agree there too.
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void StepsOnSubnormals_HaveTheManagedBackendsBits(bool decoupled)
    {
        using var managed = Device.Open("managed");
        const int Count = 5000;
        var data = new TestData(16);
        AdamTensors here = new(InOut([Count], Spread(0)), InOut([Count], Spread(1)), InOut([Count], Spread(2)),
            InOut([Count], Array.ConvertAll(Spread(3), Math.Abs)));
        using Tensor w = Copy(here.W), g = Copy(here.G), m = Copy(here.M), v = Copy(here.V);
        for (int step = 1; step <= 5; step++)
        {
            var settings = new AdamSettings(1e-2f, 0.9, 0.999, 1e-8f, 0.1f, decoupled, step, 0.7f);
            AdamCommit.Apply(here.W, here.G, here.M, here.V, settings);
            AdamCommit.Apply(w, g, m, v, settings);
            Compare.SameBits($"w at step {step}", here.W.ToArray(), w.ToArray());
            Compare.SameBits($"m at step {step}", here.M.ToArray(), m.ToArray());
            Compare.SameBits($"v at step {step}", here.V.ToArray(), v.ToArray());
            Compare.NoSubnormals("w", here.W.ToArray());
            Compare.NoSubnormals("m", here.M.ToArray());
            Compare.NoSubnormals("v", here.V.ToArray());
        }

        // A third of order one, a third small, and of the rest half below 2⁻¹²⁶.
        float[] Spread(int start)
        {
            float[] elements = data.Normal(Count);
            for (int i = 0; i < Count; i++)
                elements[i] = MathF.ScaleB(elements[i], ((i >> start) % 3) switch { 0 => 0, 1 => -(i % 120), _ => -116 - i % 30 });
            return elements;
        }

        Tensor Copy(Tensor tensor) => managed.From(tensor.Shape, tensor.ToArray());
    }
}
