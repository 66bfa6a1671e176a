using Xunit;

namespace NestedLearning.Tests;

public sealed class ShapeTests
{
    [Fact]
    public void Counts_ComeFromTheAxes()
    {
        Shape shape = [2, 3, 4];
        Assert.Equal(3, shape.Rank);
        Assert.Equal(24, shape.ElementCount);
        Assert.Equal(4, shape.Last);
        Assert.Equal(6, shape.Rows);
        Assert.Equal(2, shape[0]);
        Assert.Equal(4, shape[^1]);
        Assert.Equal([2, 3, 4], shape);
        Assert.Equal("[2, 3, 4]", shape.ToString());
    }

    [Fact]
    public void Scalar_HasOneElement()
    {
        Shape scalar = [];
        Assert.Equal(default, scalar);
        Assert.Equal(0, scalar.Rank);
        Assert.Equal(1, scalar.ElementCount);
        Assert.Equal(1, scalar.Last);
        Assert.Equal(1, scalar.Rows);
        Assert.Equal("[]", scalar.ToString());
        Assert.Equal("[]", default(Shape).ToString());
        Assert.Empty(default(Shape));
    }

    [Fact]
    public void EmptyAxis_HasNoElements()
    {
        Shape rows = [0, 4], columns = [4, 0];
        Assert.Equal(0, rows.ElementCount);
        Assert.Equal(0, rows.Rows);
        Assert.Equal(0, columns.ElementCount);
        Assert.Equal(4, columns.Rows);
        Assert.NotEqual(rows, columns);
    }

    [Fact]
    public void Equality_IsThatOfTheAxes()
    {
        Shape a = [2, 3], b = [2, 3], c = [3, 2];
        Assert.True(a == b);
        Assert.True(a != c);
        Assert.True(a.Equals((object)b));
        Assert.False(a.Equals("[2, 3]"));
        Assert.Equal(a.GetHashCode(), b.GetHashCode());
        Assert.NotEqual(a, [2, 3, 1]);
    }

    [Fact]
    public void Axes_AreCopied()
    {
        int[] axes = [2, 3];
        var shape = new Shape(axes);
        axes[0] = 9;
        Assert.Equal(2, shape[0]);
        Assert.Equal([2, 7], shape.WithLast(7));
        Assert.Equal([2, 3], shape);
    }

    [Fact]
    public void LargestCount_IsAllowed()
    {
        Assert.Equal(Shape.MaxElements, Array.MaxLength);
        Assert.Equal(Shape.MaxElements, new Shape(Shape.MaxElements).ElementCount);
        Assert.Equal(Shape.MaxElements, new Shape(1, Shape.MaxElements, 1).ElementCount);
    }

    [Fact]
    public void BadAxes_AreRefused()
    {
        Assert.Contains("at most 5 axes, got 6", Refused(1, 1, 1, 1, 1, 1), StringComparison.Ordinal);
        Assert.Contains("got -1", Refused(2, -1), StringComparison.Ordinal);
        Assert.Contains("[65536, 65536]", Refused(65536, 65536), StringComparison.Ordinal);
        Refused(int.MaxValue, int.MaxValue, int.MaxValue, int.MaxValue, int.MaxValue);
        Refused(2, 1 << 30);
        Refused(Shape.MaxElements + 1);
        // Rows of nothing are counted too.
        Refused(65536, 65536, 0);

        static string Refused(params int[] axes) => Assert.Throws<ArgumentException>(() => new Shape(axes)).Message;
    }
}
