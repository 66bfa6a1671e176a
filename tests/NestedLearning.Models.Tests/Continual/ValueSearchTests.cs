using NestedLearning.Models.Continual;
using Xunit;

namespace NestedLearning.Models.Tests.Continual;

public sealed class ValueSearchTests
{
    [Theory]
    [InlineData(1e-3)]
    [InlineData(0.9e-3)]
    [InlineData(3.1e-2)]
    [InlineData(4e-5)]
    public void Best_IsFoundWhereverItIs_AndNotAtAnEdge(double optimum)
    {
        SearchResult result = ValueSearch.Run(1e-3, 2, 12, v => Math.Pow(Math.Log(v / optimum), 2));
        Assert.Equal(12, result.Trials.Count);
        Assert.False(result.AtEdge);
        Assert.InRange(result.Best / optimum, 0.7, 1.4);
        Assert.Equal(result.Trials.MinBy(t => t.Score).Value, result.Best);
        Assert.Contains(result.Trials, t => t.Value < result.Best);
        Assert.Contains(result.Trials, t => t.Value > result.Best);
        Assert.Distinct(result.Trials.Select(t => t.Value));
    }

    [Fact]
    public void BudgetThatEndsAtAnEdge_SaysSo() => Assert.True(ValueSearch.Run(1, 2, 4, v => v).AtEdge);

    [Fact]
    public void ValuesThatFail_AreAvoided()
    {
        SearchResult result = ValueSearch.Run(1, 2, 6, v => v > 0.9 ? double.NaN : -v);
        Assert.InRange(result.Best, 0.5, 0.9);
        Assert.False(result.AtEdge);
    }

    [Fact]
    public void Arguments_AreChecked()
    {
        Assert.Throws<ArgumentOutOfRangeException>(() => ValueSearch.Run(0, 2, 5, v => v));
        Assert.Throws<ArgumentOutOfRangeException>(() => ValueSearch.Run(1, 1, 5, v => v));
        Assert.Throws<ArgumentOutOfRangeException>(() => ValueSearch.Run(1, 2, 2, v => v));
    }

    [Fact]
    public void Interval_IsStudents()
    {
        // t(2; 0.975) = 4.3027, s = 1.
        Interval three = Interval.Of([1, 2, 3]);
        Assert.Equal(2, three.Mean);
        Assert.Equal(4.3027 / Math.Sqrt(3), three.HalfWidth, 1e-4);
        Assert.Equal("2.00 ± 2.48", three.ToString("F2"));
        Assert.Equal("5.00", Interval.Of([5]).ToString("F2"));
        Assert.True(double.IsNaN(Interval.Of([]).Mean));
        // Those of many are nearly normal, from above.
        Interval many = Interval.Of(Enumerable.Range(0, 201).Select(i => i % 2 == 0 ? 1.0 : -1.0));
        Assert.InRange(many.HalfWidth * Math.Sqrt(201), 1.96, 2.0);
    }
}
