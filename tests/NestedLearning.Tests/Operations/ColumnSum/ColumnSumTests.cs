using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public abstract class ColumnSumTests(string backend) : DenseTests(backend)
{
    [Fact]
    public void Sums_AreAddedToWhatWasThere()
    {
        foreach (int rows in (ReadOnlySpan<int>)[1, 2, 7, 64, 65, 300])
        {
            foreach (int width in (ReadOnlySpan<int>)[1, 3, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 129])
            {
                var data = new TestData((ulong)(rows * 1000 + width));
                float[] x = data.Normal(rows * width), start = data.Normal(width);
                Tensor sums = InOut([width], start);
                ColumnSum.Add(Input([rows, width], x), sums);
                double[] wide = Compare.ToDouble(x);
                CloseAsSum(
                    $"sums of [{rows}, {width}]", sums,
                    Sum(Compare.ToDouble(start), ReferenceDense.ColumnSum(wide, width)),
                    Sum(Absolute(Compare.ToDouble(start)), ReferenceDense.ColumnSum(Absolute(wide), width)),
                    Tolerances.ColumnSum.Forward);
                EndCase();
            }
        }
    }

    [Fact]
    public void NoRows_AddNothing()
    {
        Tensor sums = InOut([3], [1f, 2f, 3f]);
        ColumnSum.Add(Input([0, 3], []), sums);
        Assert.Equal([1f, 2f, 3f], sums.ToArray());
    }

    [Fact]
    public void Nan_StaysInItsColumn()
    {
        float[] x = new TestData(1).Normal(20 * 37);
        x[5 * 37 + 36] = float.NaN;
        x[6 * 37 + 2] = float.PositiveInfinity;
        Tensor sums = InOut([37], new float[37]);
        ColumnSum.Add(Input([4, 5, 37], x), sums);
        float[] elements = sums.ToArray();
        Assert.True(float.IsNaN(elements[36]));
        Assert.Equal(float.PositiveInfinity, elements[2]);
        Assert.Equal(35, elements.Count(float.IsFinite));
    }

    [LargeFact]
    public void Threads_DoNotChangeBits()
    {
        float[] x = new TestData(2).Normal(500 * 301), start = new TestData(3).Normal(301);
        SameBitsForAnyThreads(() =>
        {
            Tensor sums = InOut([301], start);
            ColumnSum.Add(Input([500, 301], x), sums);
            return [("sums", sums.ToArray())];
        });
    }
}

public sealed class ManagedColumnSumTests() : ColumnSumTests("managed");

public sealed class CpuColumnSumTests() : ColumnSumTests("cpu");
