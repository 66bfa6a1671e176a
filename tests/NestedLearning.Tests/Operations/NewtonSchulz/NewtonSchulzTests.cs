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

    [Fact]
    public void Scale_DoesNotMatter()
    {
        float[] g = new TestData(2).Normal(20 * 30);
        Tensor x = Output([20, 30]), small = Output([20, 30]), large = Output([20, 30]);
        NewtonSchulz.Orthogonalize(Input([20, 30], g), x);
        NewtonSchulz.Orthogonalize(Input([20, 30], Array.ConvertAll(g, e => 0.125f * e)), small);
        NewtonSchulz.Orthogonalize(Input([20, 30], Array.ConvertAll(g, e => 1e30f * e)), large);
        Compare.Close("small", small, x.ToArray(), Tolerances.NewtonSchulz.Forward);
        Compare.Close("large", large, x.ToArray(), Tolerances.NewtonSchulz.Forward);
    }

    [Fact]
    public void Zeros_StayZeros()
    {
        Tensor x = Output([3, 4]);
        NewtonSchulz.Orthogonalize(Input([3, 4], new float[12]), x);
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
