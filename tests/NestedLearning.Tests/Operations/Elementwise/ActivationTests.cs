using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public abstract class ActivationTests(string backend) : DenseTests(backend)
{
    /// <summary>Every function.</summary>
    public static TheoryData<Activation> Activations => new(Enum.GetValues<Activation>());

    private static readonly int[] s_counts = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 1000];

    [Theory]
    [MemberData(nameof(Activations))]
    public void Forward_MatchesReference(Activation activation)
    {
        foreach (int count in s_counts)
        {
            float[] x = new TestData((ulong)count).Normal(count, 3);
            Tensor y = Output([count]);
            Elementwise.ActivationForward(activation, Input([count], x), y);
            Compare.Close($"y of [{count}]", y, Values(activation, x), Tolerances.Activation.Forward);
            EndCase();
        }
    }

    [Theory]
    [MemberData(nameof(Activations))]
    public void Backward_MatchesReference(Activation activation)
    {
        foreach (int count in s_counts)
        {
            var data = new TestData((ulong)count);
            float[] x = data.Normal(count, 3), dy = data.Normal(count);
            Tensor dx = Output([count]);
            Elementwise.ActivationBackward(activation, Input([count], x), Input([count], dy), dx);
            double[] expected = Derivatives(activation, x);
            for (int i = 0; i < count; i++)
                expected[i] *= dy[i];
            Compare.Close($"dx of [{count}]", dx, expected, Tolerances.Activation.Gradient);
            EndCase();
        }
    }

    [Theory]
    [MemberData(nameof(Activations))]
    public void Values_AreCloseOnAFineGrid(Activation activation)
    {
        // 20001 points from −10 to 10; each is bound by itself, relative to max(1, |f|).
        float[] x = new float[20001];
        for (int i = 0; i < x.Length; i++)
            x[i] = (i - 10000) * 0.001f;
        Tensor input = Input([x.Length], x), y = Output([x.Length]), dx = Output([x.Length]);
        float[] ones = new float[x.Length];
        ones.AsSpan().Fill(1);
        Elementwise.ActivationForward(activation, input, y);
        Elementwise.ActivationBackward(activation, input, Input([x.Length], ones), dx);
        CloseEach("y", y.ToArray(), Values(activation, x), 1, x, Tolerances.Activation.Forward);
        CloseEach("dx", dx.ToArray(), Derivatives(activation, x), 1, x, Tolerances.Activation.Gradient);
    }

    [Theory]
    [InlineData(Activation.Sigmoid)]
    [InlineData(Activation.Softplus)]
    [InlineData(Activation.LogSigmoid)]
    public void Tails_KeepTheirDigits(Activation activation)
    {
        // log(1 + e^x) written out is 0 from x = −17 on, and 1 − sigmoid from x = 17: here each element keeps its own digits.
        float[] x = new float[641];
        for (int i = 0; i < x.Length; i++)
            x[i] = (i - 320) * 0.25f;
        Tensor input = Input([x.Length], x), y = Output([x.Length]), dx = Output([x.Length]);
        float[] ones = new float[x.Length];
        ones.AsSpan().Fill(1);
        Elementwise.ActivationForward(activation, input, y);
        Elementwise.ActivationBackward(activation, input, Input([x.Length], ones), dx);
        CloseEach("y", y.ToArray(), Values(activation, x), 0, x, Tolerances.Activation.Forward);
        CloseEach("dx", dx.ToArray(), Derivatives(activation, x), 0, x, Tolerances.Activation.Gradient);
    }

    [Theory]
    [MemberData(nameof(Activations))]
    public void ExtremeInputs_GiveLimits(Activation activation)
    {
        float[] x = [0f, -0f, 100f, -100f, 1e4f, -1e4f, float.MaxValue, float.MinValue, float.PositiveInfinity, float.NegativeInfinity,
            float.Epsilon, -1e-30f];
        float[] ones = new float[x.Length];
        ones.AsSpan().Fill(1);
        Tensor input = Input([x.Length], x), y = Output([x.Length]), dx = Output([x.Length]);
        Elementwise.ActivationForward(activation, input, y);
        Elementwise.ActivationBackward(activation, input, Input([x.Length], ones), dx);
        float[] values = y.ToArray(), derivatives = dx.ToArray();
        for (int i = 0; i < x.Length; i++)
        {
            Check("f", values[i], ReferenceDense.Activate(activation, x[i]), x[i]);
            Check("f'", derivatives[i], ReferenceDense.ActivateDerivative(activation, x[i]), x[i]);
        }

        static void Check(string name, float actual, double expected, float at)
        {
            if (double.IsInfinity(expected))
                Assert.Equal((float)expected, actual);
            else
                Assert.True(Math.Abs(actual - expected) <= Tolerances.Activation.Forward * Math.Max(1, Math.Abs(expected)),
                    $"{name}({at}) is {actual}, expected {expected}.");
        }
    }

    [Theory]
    [MemberData(nameof(Activations))]
    public void Nan_ComesThrough(Activation activation)
    {
        foreach (int count in (ReadOnlySpan<int>)[1, 8, 21])
        {
            float[] x = new TestData(1).Normal(count), dy = new TestData(2).Normal(count);
            x[count - 1] = float.NaN;
            dy[count / 2] = float.NaN;
            Tensor input = Input([count], x), y = Output([count]), dx = Output([count]);
            Elementwise.ActivationForward(activation, input, y);
            Elementwise.ActivationBackward(activation, input, Input([count], dy), dx);
            Assert.Equal(Enumerable.Range(0, count).Select(i => i == count - 1), y.ToArray().Select(float.IsNaN));
            Assert.Equal(Enumerable.Range(0, count).Select(i => i == count - 1 || i == count / 2), dx.ToArray().Select(float.IsNaN));
            EndCase();
        }
    }

    [Theory]
    [MemberData(nameof(Activations))]
    public void Result_MayOverwriteItsInput(Activation activation)
    {
        float[] x = new TestData(3).Normal(1003), dy = new TestData(4).Normal(1003);
        Tensor input = Input([1003], x), y = Output([1003]), dx = Output([1003]);
        Elementwise.ActivationForward(activation, input, y);
        Elementwise.ActivationBackward(activation, input, Input([1003], dy), dx);
        Tensor inPlace = InOut([1003], x), gradient = InOut([1003], dy);
        Elementwise.ActivationForward(activation, inPlace, inPlace);
        Elementwise.ActivationBackward(activation, input, gradient, gradient);
        Compare.SameBits("y", inPlace.ToArray(), y.ToArray());
        Compare.SameBits("dx", gradient.ToArray(), dx.ToArray());
    }

    [LargeTheory]
    [MemberData(nameof(Activations))]
    public void Threads_DoNotChangeBits(Activation activation)
    {
        const int Count = 150_001;
        float[] x = new TestData(5).Normal(Count, 3), dy = new TestData(6).Normal(Count);
        SameBitsForAnyThreads(() =>
        {
            Tensor input = Input([Count], x), y = Output([Count]), dx = Output([Count]);
            Elementwise.ActivationForward(activation, input, y);
            Elementwise.ActivationBackward(activation, input, Input([Count], dy), dx);
            return [("y", y.ToArray()), ("dx", dx.ToArray())];
        });
    }

    private static double[] Values(Activation activation, float[] x) => Array.ConvertAll(x, e => ReferenceDense.Activate(activation, e));

    private static double[] Derivatives(Activation activation, float[] x) =>
        Array.ConvertAll(x, e => ReferenceDense.ActivateDerivative(activation, e));

    private static void CloseEach(string name, float[] actual, double[] expected, double least, float[] at, double tolerance)
    {
        for (int i = 0; i < actual.Length; i++)
        {
            double size = Math.Max(Math.Abs(expected[i]), least);
            if (!(Math.Abs(actual[i] - expected[i]) <= tolerance * size + Tolerances.LeastNormal))
                Assert.Fail(FormattableString.Invariant($"{name} at {at[i]} is {actual[i]:R}, expected {expected[i]:R}."));
        }
    }
}

public sealed class ManagedActivationTests() : ActivationTests("managed");

public sealed class CpuActivationTests() : ActivationTests("cpu");
