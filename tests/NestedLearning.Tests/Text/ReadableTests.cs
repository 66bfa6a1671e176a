using Xunit;

namespace NestedLearning.Tests;

public sealed class ReadableTests
{
    [Theory]
    [InlineData(0.99, "0.99")]
    [InlineData((double)0.99f, "0.99")]
    [InlineData(1e-8, "1e-8")]
    [InlineData((double)1e-8f, "1e-8")]
    [InlineData(1.25e20, "1.25e20")]
    [InlineData(1.0 / 3, "0.3333333333333333")]
    [InlineData(16777217.0, "16777217")]
    [InlineData(-0.5, "-0.5")]
    [InlineData(double.NaN, "NaN")]
    [InlineData(double.PositiveInfinity, "Infinity")]
    public void Number_HasTheDigitsPeopleWrite(double value, string expected) => Assert.Equal(expected, Readable.Number(value));

    [Fact]
    public void Text_WritesEveryNumberSo()
    {
        const string Word = "x";
        Assert.Equal("x 3: 0.99, 0.1, 1e-6", Readable.Text($"{Word} {3}: {(double)0.99f}, {0.1f}, {1e-6}"));
    }

    [Fact]
    public void Rule_OfAFloat32Setting_IsRounded() =>
        Assert.Contains("β2 = 0.99,", new Adam { Beta2 = 0.99f }.Rule, StringComparison.Ordinal);
}
