using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public sealed class ReferenceAttentionTests
{
    [Theory]
    [InlineData(1, 5, 5, 2, 3, 4)]
    [InlineData(2, 3, 6, 1, 4, 2)]
    public void Backward_MatchesFiniteDifferences(params int[] shape)
    {
        AttentionCase c = AttentionCase.Create(1, shape);
        (double[] dq, double[] dk, double[] dv) = ReferenceAttention.Backward(c);
        double Loss() => FiniteDifferences.Dot(ReferenceAttention.Forward(c).O, c.DOutput);
        Compare.Close("dq", dq, FiniteDifferences.Gradient(Loss, c.Q), Tolerances.FiniteDifference);
        Compare.Close("dk", dk, FiniteDifferences.Gradient(Loss, c.K), Tolerances.FiniteDifference);
        Compare.Close("dv", dv, FiniteDifferences.Gradient(Loss, c.V), Tolerances.FiniteDifference);
    }

    [Fact]
    public void OneKey_IsItsValue()
    {
        AttentionCase c = AttentionCase.Create(2, [1, 1, 1, 2, 3, 4]);
        Assert.Equal(c.V, ReferenceAttention.Forward(c).O);
    }
}
