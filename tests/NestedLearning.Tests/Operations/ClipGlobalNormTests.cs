using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public abstract class ClipGlobalNormTests(string backend) : BackendTests(backend)
{
    [Fact]
    public void LargerNorms_AreScaledToTheLimitTogether()
    {
        Tensor a = From([2], [3, 0]), b = From([1, 2], [0, 4]);
        Assert.Equal(5, Dense.ClipGlobalNorm(1, a, b), 12);
        Assert.Equal([0.6f, 0], a.ToArray());
        Assert.Equal([0, 0.8f], b.ToArray());
        Assert.Equal(1, Dense.GlobalNorm(a, b), 6);
    }

    [Fact]
    public void SmallerNorms_KeepEveryBit()
    {
        Tensor a = From([3], [0.1f, -0.2f, 0.3f]);
        float[] before = a.ToArray();
        Dense.ClipGlobalNorm(1, a);
        Compare.SameBits("a", a.ToArray(), before);
    }

    [Fact]
    public void ANormThatIsNotFinite_ScalesNothing()
    {
        Tensor a = From([2], [float.NaN, 7]);
        Assert.True(double.IsNaN(Dense.ClipGlobalNorm(1, a)));
        Assert.Equal(7, a.ToArray()[1]);
        Assert.Equal(0, Dense.ClipGlobalNorm(1, Zeros([5])));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(-1)]
    [InlineData(double.NaN)]
    public void Limit_IsChecked(double limit) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => Dense.ClipGlobalNorm(limit, Zeros([1])));
}

public sealed class ManagedClipGlobalNormTests() : ClipGlobalNormTests("managed");

public sealed class CpuClipGlobalNormTests() : ClipGlobalNormTests("cpu");
