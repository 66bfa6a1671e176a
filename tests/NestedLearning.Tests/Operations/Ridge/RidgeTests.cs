using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public abstract class RidgeTests(string backend) : DenseTests(backend)
{
    private const double Delta = 0.3;

    // Of W in float64, which its two parts have to 48 bits, and of P. Data of order one, of conditions up to some thousands.
    private const double Precise = 1e-11;

    private static readonly (int Samples, int Features, int Outputs)[] s_shapes =
    [
        (0, 3, 2), (1, 1, 1), (5, 0, 3), (5, 3, 0), (2, 7, 1), (7, 8, 3), (8, 9, 2), (9, 15, 1), (13, 16, 5), (17, 17, 65), (24, 31, 64),
        (3, 64, 2), (40, 65, 3), (33, 130, 9),
    ];

    [Theory]
    [InlineData(1.0)]
    [InlineData(0.99)]
    [InlineData(0.5)]
    public void Learn_MatchesTheRecursion(double forget)
    {
        foreach ((int samples, int features, int outputs) in Small(s_shapes, c => (long)c.Samples * c.Features * c.Features))
        {
            (float[] x, float[] y) = Samples(new TestData((ulong)(features + samples)), samples, features, outputs);
            (double[] o, double[] w, double[] p) = ReferenceRidge.Recursion(features, outputs, x, y, Delta, forget);
            using var state = new RidgeState(Device, features, outputs, Delta);
            Tensor answers = Output([samples, outputs]);
            Ridge.Learn(state, Input([samples, features], x), Input([samples, outputs], y), forget, answers);
            string name = $"T={samples} D={features} V={outputs} λ={forget}";
            Compare.Close($"o, {name}", answers, features == 0 ? new double[samples * outputs] : o, Tolerances.Ridge.Forward);
            Compare.Close($"w, {name}", state.W, w, Tolerances.Ridge.Forward);
            Compare.Close($"w in float64, {name}", Weights(state), w, Precise);
            Compare.Close($"p, {name}", state.Covariance(), p, Precise);
            EndCase();
        }
    }

    [Fact]
    public void Golden_IsMatched()
    {
        foreach (string name in GoldenCase.Names("ridge"))
        {
            GoldenCase golden = GoldenCase.Load(name);
            golden.HasResults("o", "p", "w");
            Shape y = golden.InputShape("y");
            using var state = new RidgeState(Device, golden.InputShape("x")[1], y[1], golden.PreciseNumber("delta"));
            Tensor o = Output(y);
            Ridge.Learn(state, Input(golden.InputShape("x"), golden.Input("x")), Input(y, golden.Input("y")),
                golden.PreciseNumber("forget"), o);
            golden.Check("o", o);
            golden.Check("w", state.W);
            golden.Check("p", Array.ConvertAll(state.Covariance(), e => (float)e));
        }
    }

    [Theory]
    [InlineData(1.0)]
    [InlineData(0.9)]
    public void Cuts_ChangeNothing(double forget)
    {
        const int Count = 29, Features = 21, Outputs = 4;
        (float[] x, float[] y) = Samples(new TestData(1), Count, Features, Outputs);
        using RidgeState whole = Learned(x, y, Features, Outputs, forget);
        using var cut = new RidgeState(Device, Features, Outputs, Delta);
        int at = 0;
        foreach (int length in (ReadOnlySpan<int>)[1, 3, 0, 8, 1, 9, 2, 5])
        {
            Ridge.Learn(cut, Input([length, Features], x.AsSpan(at * Features, length * Features)),
                Input([length, Outputs], y.AsSpan(at * Outputs, length * Outputs)), forget);
            at += length;
        }

        Assert.Equal(Count, at);
        Compare.Close("w", Weights(cut), Weights(whole), Precise);
        Compare.Close("p", cut.Covariance(), whole.Covariance(), Precise);
    }

    [Fact]
    public void Order_DoesNotMatter_WithoutForgetting()
    {
        const int Count = 60, Features = 18, Outputs = 3;
        (float[] x, float[] y) = Samples(new TestData(2), Count, Features, Outputs);
        using RidgeState forwards = Learned(x, y, Features, Outputs, 1);
        float[] turnedX = [.. Enumerable.Range(0, Count).Reverse().SelectMany(t => x[(t * Features)..((t + 1) * Features)])];
        float[] turnedY = [.. Enumerable.Range(0, Count).Reverse().SelectMany(t => y[(t * Outputs)..((t + 1) * Outputs)])];
        using RidgeState backwards = Learned(turnedX, turnedY, Features, Outputs, 1);
        Compare.Close("w", Weights(backwards), Weights(forwards), Precise);
        (double[] joint, double[] p) = ReferenceRidge.Joint(Features, Outputs, x, y, Delta, 1);
        Compare.Close("w of joint training", Weights(forwards), joint, Precise);
        Compare.Close("p of joint training", forwards.Covariance(), p, Precise);
    }

    [LargeTheory]
    [InlineData(1.0)]
    [InlineData(0.999)]
    public void MillionSamples_LeaveTheExactMinimiser(double forget)
    {
        const int Times = 250, Count = 4000, Features = 6, Outputs = 2;
        (float[] x, float[] y) = Samples(new TestData(3), Count, Features, Outputs);
        // Features of very different sizes.
        for (int i = 0; i < x.Length; i++)
            x[i] *= MathF.ScaleB(1, 3 * (i % Features) - 6);
        using var state = new RidgeState(Device, Features, Outputs, 1e-3);
        Tensor keys = Input([Count, Features], x), targets = Input([Count, Outputs], y);
        for (int time = 0; time < Times; time++)
            Ridge.Learn(state, keys, targets, forget);
        float[] allX = [.. Enumerable.Repeat(x, Times).SelectMany(e => e)], allY = [.. Enumerable.Repeat(y, Times).SelectMany(e => e)];
        (double[] w, double[] p) = ReferenceRidge.Joint(Features, Outputs, allX, allY, 1e-3, forget);
        Compare.Close("w", state.W, w, Tolerances.Ridge.Forward);
        double[] actual = state.Covariance(), weights = Weights(state);
        for (int i = 0; i < Features; i++)
        {
            Assert.True(actual[i * Features + i] > 0);
            for (int j = 0; j < Features; j++)
            {
                Assert.Equal(actual[i * Features + j], actual[j * Features + i]);
                double scale = Math.Sqrt(p[i * Features + i] * p[j * Features + j]);
                Assert.Equal(p[i * Features + j] / scale, actual[i * Features + j] / scale, 1e-9);
            }

            for (int k = 0; k < Outputs; k++)
                Assert.Equal(w[i * Outputs + k], weights[i * Outputs + k], 1e-8 * Math.Max(1e-3, Math.Abs(w[i * Outputs + k])));
        }
    }

    [LargeFact]
    public void FeaturesWithoutSamples_StayLearnable_HoweverMuchIsForgotten()
    {
        const int Features = 10, Quiet = 4, Count = 20_000;
        float[] x = new TestData(4).Normal(Count * Features);
        for (int i = 0; i < x.Length; i++)
            x[i] = i % Features < Quiet ? 0 : x[i];
        float[] y = [.. Enumerable.Range(0, Count).Select(t => x[t * Features + Quiet])];
        using RidgeState state = Learned(x, y, Features, 1, 0.9);
        Assert.All(state.Covariance(), e => Assert.True(double.IsFinite(e)));
        Assert.All(Enumerable.Range(0, Features), i => Assert.True(state.Covariance()[i * Features + i] > 0));
        // Then what was quiet is heard: an exact answer after as many samples as there are unknowns.
        (float[] nextX, _) = Samples(new TestData(5), 3 * Features, Features, 1);
        float[] nextY = [.. Enumerable.Range(0, 3 * Features).Select(t => nextX[t * Features] - 2 * nextX[t * Features + Quiet + 1])];
        Ridge.Learn(state, Input([3 * Features, Features], nextX), Input([3 * Features, 1], nextY), 0.9);
        float[] w = state.W.ToArray();
        (double[] expected, _) = ReferenceRidge.Joint(Features, 1, [.. x, .. nextX], [.. y, .. nextY], Delta, 0.9);
        Compare.Close("w", w, expected, 1e-5);
    }

    [Fact]
    public void Answers_AreLeftOut_WhereNobodyWantsThem()
    {
        (float[] x, float[] y) = Samples(new TestData(6), 11, 12, 3);
        using RidgeState without = Learned(x, y, 12, 3, 0.95);
        using var with = new RidgeState(Device, 12, 3, Delta);
        Ridge.Learn(with, Input([11, 12], x), Input([11, 3], y), 0.95, Output([11, 3]));
        Compare.SameBits("w", with.W.ToArray(), without.W.ToArray());
        Compare.SameBits("factor", with.Factor.ToArray(), without.Factor.ToArray());
        Tensor answers = Output([11, 3]);
        Ridge.Predict(with, Input([11, 12], x), answers);
        double[] expected = ReferenceDense.Product(11, 3, 12, Compare.ToDouble(x), false, Elements(with.W), false, null);
        Compare.Close("x w", answers, expected, Tolerances.Gemm.Forward);
    }

    [Fact]
    public void NewOutputs_AreThoseOfJointTraining()
    {
        const int Count = 31, Features = 14;
        (float[] x, float[] y) = Samples(new TestData(7), 2 * Count, Features, 3);
        for (int t = 0; t < Count; t++)
            y[t * 3 + 2] = 0;
        using RidgeState joint = Learned(x, y, Features, 3, 1);
        float[] first = [.. Enumerable.Range(0, Count).SelectMany(t => y[(t * 3)..(t * 3 + 2)])];
        using RidgeState grown = Learned(x[..(Count * Features)], first, Features, 2, 1);
        grown.AddOutputs(1);
        Assert.Equal(3, grown.Outputs);
        Ridge.Learn(grown, Input([Count, Features], x.AsSpan(Count * Features)), Input([Count, 3], y.AsSpan(Count * 3)));
        Compare.Close("w", Weights(grown), Weights(joint), Precise);
    }

    [LargeTheory]
    [InlineData(1)]
    [InlineData(19)]
    public void Threads_DoNotChangeBits(int samples)
    {
        (float[] x, float[] y) = Samples(new TestData(8), samples, 301, 70);
        SameBitsForAnyThreads(() =>
        {
            using var state = new RidgeState(Device, 301, 70, Delta);
            Tensor o = Output([samples, 70]);
            Ridge.Learn(state, Input([samples, 301], x), Input([samples, 70], y), 0.99, o);
            return [("o", o.ToArray()), ("w", state.W.ToArray()), ("w low", state.WLow.ToArray()), ("factor", state.Factor.ToArray())];
        });
    }

    [Theory]
    [InlineData(float.NaN, "NaN")]
    [InlineData(float.PositiveInfinity, "Infinity")]
    [InlineData(float.NegativeInfinity, "-Infinity")]
    public void NonFiniteSamples_AreRefused_AndNothingIsLearned(float bad, string text)
    {
        (float[] x, float[] y) = Samples(new TestData(9), 12, 5, 2);
        using RidgeState state = Learned(x, y, 5, 2, 1);
        float[][] before = Bits(state);
        foreach (bool key in (ReadOnlySpan<bool>)[true, false])
        {
            float[] badX = [.. x], badY = [.. y];
            (key ? badX : badY)[11 * (key ? 5 : 2) + 1] = bad;
            Tensor o = Output([12, 2]);
            var e = Assert.Throws<NotFiniteNumberException>(
                () => Ridge.Learn(state, Input([12, 5], badX), Input([12, 2], badY), 1, o));
            Assert.Equal($"{(key ? "x" : "y")} has {text} at [11, 1], expected finite numbers. Nothing was learned.", e.Message);
            Assert.All(o.ToArray(), n => Assert.True(float.IsNaN(n)));
            Unchanged(state, before);
            EndCase();
        }
    }

    [Fact]
    public void HugeSamples_AreLearned_OrLeaveTheState()
    {
        float[] huge = [3e38f, -2e38f, 1e38f, 3e38f];
        using RidgeState state = Learned([1, 2, 3, 4], [1, 1], 2, 1, 1);
        Ridge.Learn(state, Input([2, 2], huge), Input([2, 1], [1, 2]));
        Assert.All(state.Covariance(), e => Assert.True(double.IsFinite(e)));
        Assert.All(state.W.ToArray(), e => Assert.True(float.IsFinite(e)));
    }

    [Fact]
    public void BadArguments_AreNamed_AndNothingIsLearned()
    {
        (float[] x, float[] y) = Samples(new TestData(10), 6, 5, 2);
        using RidgeState state = Learned(x, y, 5, 2, 1);
        float[][] before = Bits(state);
        Tensor keys = Input([6, 5], x), targets = Input([6, 2], y);
        string Refused(Action action) => Assert.ThrowsAny<ArgumentException>(action).Message;
        void Contains(string expected, Action action) => Assert.Contains(expected, Refused(action), StringComparison.Ordinal);

        foreach (double forget in (ReadOnlySpan<double>)[0, -0.5, 1.0000001, double.NaN, double.PositiveInfinity, 1e-40])
            Contains("forget is ", () => Ridge.Learn(state, keys, targets, forget));
        Contains("forget is 1.5, expected a number above 0, not subnormal in float32, and at most 1",
            () => Ridge.Learn(state, keys, targets, 1.5));
        Contains("x has shape [5, 6], expected [5, 5]", () => Ridge.Learn(state, Input([5, 6], x), targets));
        Contains("x has shape [30], expected [T, D]", () => Ridge.Learn(state, Input([30], x), targets));
        Contains("y has shape [4, 3], expected [6, 2]", () => Ridge.Learn(state, keys, Input([4, 3], y)));
        Contains("predictions has shape [2, 6], expected [6, 2]", () => Ridge.Learn(state, keys, targets, 1, Output([2, 6])));
        Contains("y has shape [6, 1], expected [6, 2]", () => Ridge.Predict(state, keys, Output([6, 1])));
        using Device other = Device.Open("managed");
        using Tensor elsewhere = other.From([6, 5], x);
        Contains("x is on 'managed', expected", () => Ridge.Learn(state, elsewhere, targets));
        Contains("The regularizer is 0, expected 1e-30 to 1e30", () => new RidgeState(Device, 3, 1, 0).Dispose());
        Contains("The regularizer is NaN", () => new RidgeState(Device, 3, 1, double.NaN).Dispose());
        Contains("features is -1, expected 0 to 46320", () => new RidgeState(Device, -1, 1, 1).Dispose());
        Contains("features is 46321", () => new RidgeState(Device, 46_321, 1, 1).Dispose());
        Contains("outputs is -1, expected at least 0", () => new RidgeState(Device, 1, -1, 1).Dispose());
        Contains("count is 0, expected at least 1", () => state.AddOutputs(0));
        Unchanged(state, before);
    }

    [Fact]
    public void DisposedState_IsRefused()
    {
        var state = new RidgeState(Device, 3, 2, 1);
        state.Dispose();
        Assert.Throws<ObjectDisposedException>(() => Ridge.Learn(state, Input([1, 3], new float[3]), Input([1, 2], new float[2])));
    }

    private static (float[] X, float[] Y) Samples(TestData data, int samples, int features, int outputs) =>
        (data.Normal(samples * features), data.Normal(samples * outputs));

    private static float[][] Bits(RidgeState state) => [state.Factor.ToArray(), state.W.ToArray(), state.WLow.ToArray()];

    private static void Unchanged(RidgeState state, float[][] before)
    {
        foreach ((float[] now, float[] old) in Bits(state).Zip(before))
            Compare.SameBits("the state", now, old);
    }

    // W in float64.
    private static double[] Weights(RidgeState state) => Sum(Elements(state.W), Elements(state.WLow));

    private RidgeState Learned(float[] x, float[] y, int features, int outputs, double forget)
    {
        int samples = x.Length / features;
        var state = new RidgeState(Device, features, outputs, Delta);
        Ridge.Learn(state, Input([samples, features], x), Input([samples, outputs], y), forget);
        return state;
    }
}

public sealed class ManagedRidgeTests() : RidgeTests("managed");

public sealed class CpuRidgeTests() : RidgeTests("cpu");
