using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public abstract class NormTests(string backend) : DenseTests(backend)
{
    private static readonly int[] s_widths = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 129, 257];

    [Theory]
    [InlineData(NormKind.Rms)]
    [InlineData(NormKind.Layer)]
    [InlineData(NormKind.L2)]
    public void Forward_MatchesReference(NormKind kind)
    {
        foreach (int width in Small(s_widths, w => w))
        {
            foreach (int rows in (ReadOnlySpan<int>)[1, 2, 33])
            {
                foreach (bool gained in (ReadOnlySpan<bool>)[false, true])
                {
                    var c = new Case(this, kind, rows, width, gained, EpsilonFor(width));
                    Tensor y = Output([rows, width]);
                    Norm.Forward(kind, c.X, c.Gain, c.Bias, c.Epsilon, y);
                    Compare.Close(
                        $"y of {c.Name}", y,
                        ReferenceDense.Norm(kind, Elements(c.X), width, c.WideGain, c.Bias is null ? null : Elements(c.Bias), c.Epsilon),
                        Tolerances.Norm.Forward);
                    EndCase();
                }
            }
        }
    }

    [Theory]
    [InlineData(NormKind.Rms)]
    [InlineData(NormKind.Layer)]
    [InlineData(NormKind.L2)]
    public void Backward_MatchesReference(NormKind kind)
    {
        foreach (int width in Small(s_widths, w => w))
        {
            foreach (int rows in (ReadOnlySpan<int>)[1, 2, 33])
            {
                foreach (bool gained in (ReadOnlySpan<bool>)[false, true])
                {
                    var c = new Case(this, kind, rows, width, gained, EpsilonFor(width));
                    Tensor dx = Output([rows, width]);
                    Tensor? dGain = c.Gain is null ? null : InOut([width], c.Data.Normal(width));
                    Tensor? dBias = c.Bias is null ? null : InOut([width], c.Data.Normal(width));
                    double[]? gainBefore = dGain is null ? null : Elements(dGain), biasBefore = dBias is null ? null : Elements(dBias);
                    Norm.Backward(kind, c.X, c.Gain, c.Epsilon, c.Dy, dx, dGain, dBias);

                    (double[] x, double[] gain, double[] bias) = ReferenceDense.NormBackward(kind, Elements(c.X), width, c.WideGain,
                        c.Epsilon, Elements(c.Dy));
                    Compare.Close($"dx of {c.Name}", dx, x, Tolerances.Norm.Gradient);
                    if (dGain is not null)
                        Compare.Close($"dGain of {c.Name}", dGain, Sum(gainBefore, gain), Tolerances.Norm.Gradient);
                    if (dBias is not null)
                        Compare.Close($"dBias of {c.Name}", dBias, Sum(biasBefore, bias), Tolerances.Norm.Gradient);
                    EndCase();
                }
            }
        }
    }

    [Theory]
    [InlineData(NormKind.Rms)]
    [InlineData(NormKind.Layer)]
    public void Gradients_DoNotDependOnWhichAreWanted(NormKind kind)
    {
        var c = new Case(this, kind, 20, 37, true, 1e-6f);
        Tensor dx = Output([20, 37]), dGain = Zeros([37]);
        Tensor? dBias = c.Bias is null ? null : Zeros([37]);
        Norm.Backward(kind, c.X, c.Gain, c.Epsilon, c.Dy, dx, dGain, dBias);

        Tensor dxAlone = Output([20, 37]), dGainAlone = Zeros([37]);
        Norm.Backward(kind, c.X, c.Gain, c.Epsilon, c.Dy, dxAlone, null, null);
        Norm.Backward(kind, c.X, c.Gain, c.Epsilon, c.Dy, null, dGainAlone, null);
        Compare.SameBits("dx", dxAlone.ToArray(), dx.ToArray());
        Compare.SameBits("dGain", dGainAlone.ToArray(), dGain.ToArray());
        if (dBias is not null)
        {
            Tensor dBiasAlone = Zeros([37]);
            Norm.Backward(kind, c.X, c.Gain, c.Epsilon, c.Dy, null, null, dBiasAlone);
            Compare.SameBits("dBias", dBiasAlone.ToArray(), dBias.ToArray());
        }
    }

    [Theory]
    [InlineData(NormKind.Rms, 1e-12f)]
    [InlineData(NormKind.Rms, 1e12f)]
    [InlineData(NormKind.Layer, 1e-12f)]
    [InlineData(NormKind.Layer, 1e12f)]
    [InlineData(NormKind.L2, 1e-12f)]
    [InlineData(NormKind.L2, 1e12f)]
    public void Scale_OfInputMayBeExtreme(NormKind kind, float scale)
    {
        float[] x = new TestData(1).Normal(5 * 40, scale);
        Tensor y = Output([5, 40]);
        const float Epsilon = 1e-6f;
        Norm.Forward(kind, Input([5, 40], x), null, null, Epsilon, y);
        double[] expected = ReferenceDense.Norm(kind, Compare.ToDouble(x), 40, null, null, Epsilon);

        // A tiny row is far below 1: relative to its own size.
        double[] unit = Array.ConvertAll(expected, e => e / expected.Max(Math.Abs));
        float largest = (float)expected.Max(Math.Abs);
        Compare.Close("y", Array.ConvertAll(y.ToArray(), e => e / largest), unit, Tolerances.Norm.Forward);
    }

    [Fact]
    public void Layer_KeepsTheSpreadOfARowFarFromZero()
    {
        float[] x = new TestData(2).Normal(6 * 50);
        for (int i = 0; i < x.Length; i++)
            x[i] += 100;
        Tensor y = Output([6, 50]);
        Norm.Forward(NormKind.Layer, Input([6, 50], x), null, null, 1e-6f, y);
        Compare.Close("y", y, ReferenceDense.Norm(NormKind.Layer, Compare.ToDouble(x), 50, null, null, 1e-6f), Tolerances.Norm.Forward);
    }

    [Theory]
    [InlineData(NormKind.Rms)]
    [InlineData(NormKind.Layer)]
    [InlineData(NormKind.L2)]
    public void ZeroRow_GivesZeroAndAFiniteGradient(NormKind kind)
    {
        Tensor x = Input([2, 19], new float[38]), y = Output([2, 19]), dx = Output([2, 19]),
            dy = Input([2, 19], new TestData(3).Normal(38));
        Norm.Forward(kind, x, null, null, 1e-6f, y);
        Norm.Backward(kind, x, null, 1e-6f, dy, dx, null, null);
        Assert.All(y.ToArray(), e => Assert.Equal(0f, e));
        (double[] expected, _, _) = ReferenceDense.NormBackward(kind, new double[38], 19, null, 1e-6f, Elements(dy));
        Compare.Close("dx", dx, expected, Tolerances.Norm.Gradient);
    }

    [Theory]
    [InlineData(NormKind.Rms)]
    [InlineData(NormKind.Layer)]
    [InlineData(NormKind.L2)]
    public void Nan_StaysInItsRow(NormKind kind)
    {
        float[] elements = new TestData(4).Normal(5 * 21), dElements = new TestData(5).Normal(5 * 21);
        elements[2 * 21 + 20] = float.NaN;
        dElements[4 * 21] = float.NaN;
        Tensor x = Input([5, 21], elements), dy = Input([5, 21], dElements), y = Output([5, 21]), dx = Output([5, 21]);
        Norm.Forward(kind, x, null, null, 1e-6f, y);
        Norm.Backward(kind, x, null, 1e-6f, dy, dx, null, null);
        Assert.Equal(Enumerable.Range(0, 105).Select(i => i / 21 == 2), y.ToArray().Select(float.IsNaN));
        Assert.Equal(Enumerable.Range(0, 105).Select(i => i / 21 is 2 or 4), dx.ToArray().Select(float.IsNaN));
    }

    [LargeTheory]
    [InlineData(NormKind.Rms)]
    [InlineData(NormKind.Layer)]
    [InlineData(NormKind.L2)]
    public void Threads_DoNotChangeBits(NormKind kind)
    {
        SameBitsForAnyThreads(() =>
        {
            var c = new Case(this, kind, 301, 259, true, 1e-6f);
            Tensor y = Output([301, 259]), dx = Output([301, 259]);
            Tensor? dGain = c.Gain is null ? null : Zeros([259]), dBias = c.Bias is null ? null : Zeros([259]);
            Norm.Forward(kind, c.X, c.Gain, c.Bias, c.Epsilon, y);
            Norm.Backward(kind, c.X, c.Gain, c.Epsilon, c.Dy, dx, dGain, dBias);
            return [("y", y.ToArray()), ("dx", dx.ToArray()), ("dGain", dGain?.ToArray() ?? []), ("dBias", dBias?.ToArray() ?? [])];
        });
    }

    // A row of one or two elements is nearly all direction: its gradient is ε's doing, so ε is made large enough to see.
    private static float EpsilonFor(int width) => width < 3 ? 0.3f : 1e-6f;

    private sealed class Case
    {
        public Case(NormTests tests, NormKind kind, int rows, int width, bool gained, float epsilon)
        {
            Name = $"[{rows}, {width}]{(gained ? " with gain" : "")}";
            Data = new TestData((ulong)(rows * 1000 + width));
            Epsilon = epsilon;
            X = tests.Input([rows, width], Data.Normal(rows * width));
            Dy = tests.Input([rows, width], Data.Normal(rows * width));
            float[] gain = Data.Uniform(width, 0.5f, 1.5f), bias = Data.Normal(width);
            Gain = gained && kind != NormKind.L2 ? tests.Input([width], gain) : null;
            Bias = gained && kind == NormKind.Layer ? tests.Input([width], bias) : null;
        }

        public string Name { get; }

        public TestData Data { get; }

        public float Epsilon { get; }

        public Tensor X { get; }

        public Tensor Dy { get; }

        public Tensor? Gain { get; }

        public Tensor? Bias { get; }

        public double[]? WideGain => Gain is null ? null : Elements(Gain);
    }
}

public sealed class ManagedNormTests() : NormTests("managed");

public sealed class CpuNormTests() : NormTests("cpu");
