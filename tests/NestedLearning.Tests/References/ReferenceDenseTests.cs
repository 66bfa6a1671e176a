using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>The dense references judged by numbers from elsewhere and by finite differences.</summary>
public sealed class ReferenceDenseTests
{
    // Φ from tables: 16 digits near 0, the far tail to its own digits.
    [Theory]
    [InlineData(0.0, 0.5)]
    [InlineData(1.0, 0.8413447460685429)]
    [InlineData(-1.0, 0.15865525393145705)]
    [InlineData(-2.499999, 0.006209682854098541)]
    [InlineData(-2.5, 0.006209665325776135)]
    [InlineData(-3.0, 0.0013498980316300946)]
    [InlineData(-8.0, 6.220960574271784e-16)]
    [InlineData(-20.0, 2.7536241186062337e-89)]
    [InlineData(6.0, 0.9999999990134123)]
    public void NormalCumulative_GivesKnownValues(double x, double expected) =>
        Assert.Equal(1, ReferenceDense.NormalCumulative(x) / expected, 1e-13);

    [Fact]
    public void Activations_GiveKnownValues()
    {
        Assert.Equal(0.8807970779778823, ReferenceDense.Activate(Activation.Sigmoid, 2), 1e-15);
        Assert.Equal(2.1269280110429727, ReferenceDense.Activate(Activation.Softplus, 2), 1e-15);
        Assert.Equal(1, ReferenceDense.Activate(Activation.Softplus, -40) / 4.248354255291589e-18, 1e-14);
        Assert.Equal(-0.12692801104297263, ReferenceDense.Activate(Activation.LogSigmoid, 2), 1e-15);
        Assert.Equal(1.9544997361036416, ReferenceDense.Activate(Activation.Gelu, 2), 1e-15);
    }

    [Theory]
    [InlineData(Activation.Sigmoid)]
    [InlineData(Activation.Softplus)]
    [InlineData(Activation.LogSigmoid)]
    [InlineData(Activation.Gelu)]
    public void ActivationDerivative_MatchesFiniteDifferences(Activation activation)
    {
        double[] x = [-9, -4, -2.6, -1, -0.3, 0, 0.2, 0.75, 2.4, 2.6, 5, 9];
        double[] expected = FiniteDifferences.Gradient(() => x.Sum(e => ReferenceDense.Activate(activation, e)), x);
        Compare.Close("f'", Array.ConvertAll(x, e => ReferenceDense.ActivateDerivative(activation, e)), expected,
            Tolerances.FiniteDifference);
    }

    [Theory]
    [InlineData(NormKind.Rms)]
    [InlineData(NormKind.Layer)]
    [InlineData(NormKind.L2)]
    public void NormBackward_MatchesFiniteDifferences(NormKind kind)
    {
        const int Width = 7;
        const double Epsilon = 0.01;
        var data = new TestData(1);
        double[] x = Wide(data.Normal(3 * Width)), gain = Wide(data.Normal(Width)), bias = Wide(data.Normal(Width)),
            dy = Wide(data.Normal(3 * Width));
        double Loss() => FiniteDifferences.Dot(ReferenceDense.Norm(kind, x, Width, gain, bias, Epsilon), dy);
        (double[] dx, double[] dGain, double[] dBias) = ReferenceDense.NormBackward(kind, x, Width, gain, Epsilon, dy);
        Compare.Close("dx", dx, FiniteDifferences.Gradient(Loss, x), Tolerances.FiniteDifference);
        Compare.Close("dGain", dGain, FiniteDifferences.Gradient(Loss, gain), Tolerances.FiniteDifference);
        Compare.Close("dBias", dBias, FiniteDifferences.Gradient(Loss, bias), Tolerances.FiniteDifference);
    }

    [Fact]
    public void Norms_HaveTheirLengths()
    {
        double[] x = Wide(new TestData(2).Normal(10));
        Assert.Equal(10, ReferenceDense.Norm(NormKind.Rms, x, 10, null, null, 0).Sum(e => e * e), 1e-12);
        Assert.Equal(10, ReferenceDense.Norm(NormKind.Layer, x, 10, null, null, 0).Sum(e => e * e), 1e-12);
        Assert.Equal(0, ReferenceDense.Norm(NormKind.Layer, x, 10, null, null, 0).Sum(), 1e-12);
        Assert.Equal(1, ReferenceDense.Norm(NormKind.L2, x, 10, null, null, 0).Sum(e => e * e), 1e-12);

        // ε² under the L2 norm's root, ε under the others'.
        Assert.Equal(0.6, ReferenceDense.Norm(NormKind.L2, [3], 1, null, null, 4)[0], 1e-15);
        Assert.Equal(0.6, ReferenceDense.Norm(NormKind.Rms, [3], 1, null, null, 16)[0], 1e-15);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(6)]
    public void ConvolutionBackward_MatchesFiniteDifferences(int time)
    {
        const int Batch = 2, Width = 3;
        var data = new TestData(3);
        double[] x = Wide(data.Normal(Batch * time * Width)), weight = Wide(data.Normal(Width * 4)), bias = Wide(data.Normal(Width));
        double[] state = Wide(data.Normal(Batch * 3 * Width)), dy = Wide(data.Normal(Batch * time * Width));
        double Loss() => FiniteDifferences.Dot(ReferenceDense.Convolution(Batch, time, Width, x, weight, bias, state).Y, dy);
        (double[] dx, double[] dWeight, double[] dBias) = ReferenceDense.ConvolutionBackward(Batch, time, Width, x, weight, state, dy);
        Compare.Close("dx", dx, FiniteDifferences.Gradient(Loss, x), Tolerances.FiniteDifference);
        Compare.Close("dWeight", dWeight, FiniteDifferences.Gradient(Loss, weight), Tolerances.FiniteDifference);
        Compare.Close("dBias", dBias, FiniteDifferences.Gradient(Loss, bias), Tolerances.FiniteDifference);
    }

    [Fact]
    public void Convolution_LastTapIsTheTokenItself()
    {
        (double[] y, double[] next) = ReferenceDense.Convolution(1, 2, 1, [5, 7], [1, 10, 100, 1000], [0.5], [2, 3, 4]);
        Assert.Equal([5432.5, 7543.5], y);
        Assert.Equal([4, 5, 7], next);
    }

    [Fact]
    public void CrossEntropyBackward_MatchesFiniteDifferences()
    {
        const int Classes = 5;
        var data = new TestData(4);
        double[] logits = Wide(data.Normal(4 * Classes, 2)), dLosses = Wide(data.Normal(4));
        int[] targets = [0, -1, 4, 2];
        double Loss() => FiniteDifferences.Dot(ReferenceDense.CrossEntropy(logits, targets, Classes).Losses, dLosses);
        Compare.Close(
            "dLogits", ReferenceDense.CrossEntropyBackward(logits, targets, Classes, dLosses),
            FiniteDifferences.Gradient(Loss, logits), Tolerances.FiniteDifference);
    }

    [Fact]
    public void EmbedBackward_MatchesFiniteDifferences()
    {
        var data = new TestData(5);
        double[] table = Wide(data.Normal(4 * 3)), dy = Wide(data.Normal(5 * 3));
        int[] tokens = [3, 0, 3, 1, 3];
        Compare.Close(
            "dTable", ReferenceDense.EmbedBackward(tokens, dy, 4, 3),
            FiniteDifferences.Gradient(() => FiniteDifferences.Dot(ReferenceDense.Embed(tokens, table, 3), dy), table),
            Tolerances.FiniteDifference);
    }

    [Fact]
    public void Product_KnowsItsTransposes()
    {
        // [1 2 3; 4 5 6] [1 0; 2 1; 0 3] = [5 11; 14 23]
        double[] a = [1, 2, 3, 4, 5, 6], aTransposed = [1, 4, 2, 5, 3, 6], b = [1, 0, 2, 1, 0, 3], bTransposed = [1, 2, 0, 0, 1, 3];
        double[] expected = [5.5, 12, 14.5, 24];
        Assert.Equal(expected, ReferenceDense.Product(2, 2, 3, a, false, b, false, [0.5, 1]));
        Assert.Equal(expected, ReferenceDense.Product(2, 2, 3, aTransposed, true, b, false, [0.5, 1]));
        Assert.Equal(expected, ReferenceDense.Product(2, 2, 3, a, false, bTransposed, true, [0.5, 1]));
        Assert.Equal(expected, ReferenceDense.Product(2, 2, 3, aTransposed, true, bTransposed, true, [0.5, 1]));
    }

    [Fact]
    public void NewtonSchulz_IsTheQuinticOfEachSingularValue()
    {
        // diag(3, 4) has the norm 5; a diagonal matrix' singular values are its elements.
        static double Quintic(double s) => 3.4445 * s - 4.7750 * Math.Pow(s, 3) + 2.0315 * Math.Pow(s, 5);
        double[] expected = [Quintic(3.0 / 5), 0, 0, Quintic(4.0 / 5)];
        Compare.Close("square", ReferenceDense.NewtonSchulz(2, 2, [3, 0, 0, 4], 1), expected, 1e-12);
        Compare.Close("tall", ReferenceDense.NewtonSchulz(3, 2, [3, 0, 0, 4, 0, 0], 1), [.. expected, 0, 0], 1e-12);
    }

    [Fact]
    public void Adam_FirstStepByHand()
    {
        // β1 = 1/2, β2 = 3/4, g' = 2·3 + 4/2 = 8: m = 8/2, v = 64/4; corrected 8 and 64, so w moves by η · 8/(8 + 1).
        double[] w = [4], m = [0], v = [0];
        ReferenceDense.Adam(w, [3], m, v, new AdamSettings(0.25f, 0.5f, 0.75f, 1, 0.5f, false, 1, 2));
        Assert.Equal(4, m[0], 1e-12);
        Assert.Equal(16, v[0], 1e-12);
        Assert.Equal(4 - 0.25 * 8 / 9, w[0], 1e-12);

        double[] decoupled = [4];
        ReferenceDense.Adam(decoupled, [3], [0], [0], new AdamSettings(0.25f, 0.5f, 0.75f, 1, 0.5f, true, 1, 2));
        Assert.Equal(4 - 0.25 * 0.5 * 4 - 0.25 * 6 / 7, decoupled[0], 1e-12);
    }

    private static double[] Wide(float[] elements) => Compare.ToDouble(elements);
}
