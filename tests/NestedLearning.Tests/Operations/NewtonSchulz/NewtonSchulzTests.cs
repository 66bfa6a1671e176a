using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public abstract class NewtonSchulzTests(string backend) : DenseTests(backend)
{
    public static TheoryData<int, int> Shapes => new()
    {
        { 1, 1 }, { 1, 9 }, { 9, 1 }, { 2, 2 }, { 5, 7 }, { 17, 16 }, { 64, 200 }, { 200, 65 }, { 97, 97 }, { 193, 260 },
    };

    [Theory]
    [MemberData(nameof(Shapes))]
    public void Result_MatchesReference(int rows, int columns)
    {
        float[] g = new TestData(1).Normal(rows * columns, 0.1f);
        foreach (int steps in (ReadOnlySpan<int>)[0, 1, 2, 5])
        {
            double[] expected = ReferenceDense.NewtonSchulz(rows, columns, Compare.ToDouble(g), steps);
            Tensor x = Output([rows, columns]), inPlace = InOut([rows, columns], g);
            NewtonSchulz.Orthogonalize(Input([rows, columns], g), x, steps);
            Compare.Close($"x after {steps} steps", x, expected, Tolerances.NewtonSchulz.Forward);
            NewtonSchulz.Orthogonalize(inPlace, inPlace, steps);
            Compare.SameBits("x in place", inPlace.ToArray(), x.ToArray());
            EndCase();
        }
    }

    [Fact]
    public void Golden_IsMatched()
    {
        GoldenCase golden = GoldenCase.Load("newton-schulz");
        golden.HasResults("x");
        Tensor x = Output(golden.InputShape("g"));
        NewtonSchulz.Orthogonalize(Input(golden.InputShape("g"), golden.Input("g")), x);
        golden.Check("x", x);
    }

    [Theory]
    [InlineData(1e-33f)]
    [InlineData(1e-30f)]
    [InlineData(1e-12f)]
    [InlineData(1e-7f)]
    [InlineData(0.125f)]
    [InlineData(1e12f)]
    [InlineData(1e30f)]
    [InlineData(3e37f)]
    public void Scale_DoesNotMatter(float scale)
    {
        float[] g = new TestData(2).Normal(6 * 9), scaled = Array.ConvertAll(g, e => scale * e);
        Tensor x = Output([6, 9]), inPlace = InOut([6, 9], scaled);
        NewtonSchulz.Orthogonalize(Input([6, 9], scaled), x);
        Compare.Close("x", x, ReferenceDense.NewtonSchulz(6, 9, Compare.ToDouble(scaled), 5), Tolerances.NewtonSchulz.Forward);
        Compare.Close("x of another scale", x, ReferenceDense.NewtonSchulz(6, 9, Compare.ToDouble(g), 5), Tolerances.NewtonSchulz.Forward);
        NewtonSchulz.Orthogonalize(inPlace, inPlace, 5);
        Compare.SameBits("x in place", inPlace.ToArray(), x.ToArray());
    }

    [Fact]
    public void Zeros_StayZeros()
    {
        Tensor x = Output([3, 4]);
        NewtonSchulz.Orthogonalize(Input([3, 4], new float[12]), x);
        Assert.All(x.ToArray(), e => Assert.Equal(0, e));
        // Subnormal numbers count as zeros.
        float[] subnormal = new float[12];
        subnormal[5] = 1e-40f;
        NewtonSchulz.Orthogonalize(Input([3, 4], subnormal), x);
        Assert.All(x.ToArray(), e => Assert.Equal(0, e));
        NewtonSchulz.Orthogonalize(Input([0, 4], []), Output([0, 4]));
    }

    [LargeFact]
    public void Threads_DoNotChangeBits()
    {
        float[] g = new TestData(3).Normal(300 * 220);
        SameBitsForAnyThreads(() =>
        {
            Tensor x = Output([300, 220]);
            NewtonSchulz.Orthogonalize(Input([300, 220], g), x);
            return [("x", x.ToArray())];
        });
    }

    [Fact]
    public void BadArguments_AreNamed()
    {
        Tensor g = Input([2, 3], new float[6]);
        Assert.Contains("x has shape [3, 2], expected [2, 3]",
            Assert.Throws<ArgumentException>(() => NewtonSchulz.Orthogonalize(g, Output([3, 2]))).Message, StringComparison.Ordinal);
        Assert.Contains("steps is -1, expected at least 0",
            Assert.Throws<ArgumentOutOfRangeException>(() => NewtonSchulz.Orthogonalize(g, Output([2, 3]), -1)).Message,
            StringComparison.Ordinal);
    }
}

public sealed class ManagedNewtonSchulzTests() : NewtonSchulzTests("managed");

public sealed class CpuNewtonSchulzTests() : NewtonSchulzTests("cpu");
