using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public abstract class ClipGlobalNormTests(string backend) : BackendTests(backend)
{
    [Fact]
    public void LargerNorms_AreScaledToTheLimitTogether()
    {
        Tensor a = From([2], [3, 0]), b = From([1, 2], [0, 4]);
        Assert.Equal(5, GlobalNorm.Clip(1, a, b), 12);
        Assert.Equal([0.6f, 0], a.ToArray());
        Assert.Equal([0, 0.8f], b.ToArray());
        Assert.Equal(1, GlobalNorm.Of(a, b), 6);
    }

    [Fact]
    public void Norm_IsOfAllTensors_WhateverTheirSizesAndDevices()
    {
        var data = new TestData(1);
        using Device other = Device.Open("managed");
        Tensor[] tensors = [.. ((int[])[5000, 0, 3, 1, 70_000, 0]).Select(n => From([n], data.Normal(n)))];
        using Tensor elsewhere = other.From([7], data.Normal(7));
        Tensor[] all = [.. tensors[..3], elsewhere, .. tensors[3..]];
        double expected = all.Sum(t => t.ToArray().Sum(x => (double)x * x));
        Assert.Equal(1, GlobalNorm.Of(all) / Math.Sqrt(expected), Tolerances.SumOfSquares);
        Assert.Equal(Math.Sqrt(all.Sum(t => t.Device.Backend.SumOfSquares(t))), GlobalNorm.Of(all));
        Assert.Equal(0, GlobalNorm.Of());
    }

    [Fact]
    public void SmallerNorms_KeepEveryBit()
    {
        Tensor a = From([3], [0.1f, -0.2f, 0.3f]);
        float[] before = a.ToArray();
        GlobalNorm.Clip(1, a);
        Compare.SameBits("a", a.ToArray(), before);
    }

    [Fact]
    public void ANormThatIsNotFinite_ScalesNothing()
    {
        Tensor a = From([2], [float.NaN, 7]);
        Assert.True(double.IsNaN(GlobalNorm.Clip(1, a)));
        Assert.Equal(7, a.ToArray()[1]);
        Assert.Equal(0, GlobalNorm.Clip(1, Zeros([5])));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(double.NaN)]
    public void Limit_IsChecked(double limit) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => GlobalNorm.Clip(limit, Zeros([1])));
}

public sealed class ManagedClipGlobalNormTests() : ClipGlobalNormTests("managed");

public sealed class CpuClipGlobalNormTests() : ClipGlobalNormTests("cpu");
