using Xunit;

namespace NestedLearning.CommandLine.Tests;

public sealed class TensorErrorTests
{
    [Theory]
    [InlineData(new[] { 1f, 2f }, new[] { 1f, 2f }, 0)]
    [InlineData(new[] { 1f, 2.5f }, new[] { 1f, 2f }, 0.25)]
    [InlineData(new[] { -1f, -4f }, new[] { 1f, -4f }, 0.5)]
    [InlineData(new[] { 0.5f, 0f }, new[] { 0f, 0f }, 0.5)]
    [InlineData(new float[0], new float[0], 0)]
    [InlineData(new[] { float.NaN, 2f }, new[] { float.NaN, 2f }, 0)]
    [InlineData(new[] { float.NegativeInfinity, 3f }, new[] { float.NegativeInfinity, 2f }, 0.5)]
    [InlineData(new[] { float.NaN, 2f }, new[] { 1f, 2f }, double.PositiveInfinity)]
    [InlineData(new[] { 1f, 2f }, new[] { float.NaN, 2f }, double.PositiveInfinity)]
    [InlineData(new[] { float.PositiveInfinity }, new[] { float.NegativeInfinity }, double.PositiveInfinity)]
    [InlineData(new[] { float.PositiveInfinity }, new[] { 0f }, double.PositiveInfinity)]
    public void Relative_IsTheLargestDifferenceOverTheLargestElement(float[] result, float[] expected, double error) =>
        Assert.Equal(error, TensorError.Relative(result, expected));
}
