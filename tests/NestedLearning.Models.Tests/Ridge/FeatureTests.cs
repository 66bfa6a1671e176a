using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Models.Tests;

public sealed class FeatureTests : IDisposable
{
    private readonly Device _device = Device.Open("managed");

    public void Dispose() => _device.Dispose();

    [Fact]
    public void FourierFeatures_HaveTheProductsOfAGaussianKernel()
    {
        const int Inputs = 10, Count = 20_000;
        using var random = new RandomFeatures(_device, Inputs, Count, RandomFeatureKind.Fourier, scale: 1.5f, seed: 3);
        var data = new TestData(1);
        for (int pair = 0; pair < 5; pair++)
        {
            float[] x = data.Normal(Inputs), y = [.. x.Zip(data.Normal(Inputs, 0.2f * pair), (a, b) => a + b)];
            double distance = x.Zip(y, (a, b) => (double)(a - b) * (a - b)).Sum();
            double expected = Math.Exp(-0.5 * 1.5 * 1.5 / Inputs * distance);
            double product = random.Of(x).Zip(random.Of(y), (a, b) => (double)a * b).Sum();
            // Four standard errors of a mean of N products of cosines, whose deviation is at most 1.
            Assert.Equal(expected, product, 4 / Math.Sqrt(Count));
        }
    }

    [Fact]
    public void Features_AreAFunctionOfTheSettings()
    {
        float[] x = new TestData(2).Normal(3 * 7);
        using Tensor keys = _device.From([3, 7], x);
        foreach (RandomFeatureKind kind in Enum.GetValues<RandomFeatureKind>())
        {
            using var one = new RandomFeatures(_device, 7, 33, kind, 0.5f, 9);
            using var same = new RandomFeatures(_device, 7, 33, kind, 0.5f, 9);
            using var other = new RandomFeatures(_device, 7, 33, kind, 0.5f, 10);
            using Tensor a = one.Of(keys), b = same.Of(keys), c = other.Of(keys);
            Compare.SameBits("features", a.ToArray(), b.ToArray());
            Assert.NotEqual(a.ToArray(), c.ToArray());
            Compare.Close("a row alone", one.Of(x.AsSpan(7, 7)), a.ToArray().AsSpan(33, 33), Tolerances.Gemm.Forward);
        }
    }

    [Fact]
    public void BadArgumentsOfFeatures_AreNamed()
    {
        void Contains(string expected, Action action) =>
            Assert.Contains(expected, Assert.ThrowsAny<ArgumentException>(action).Message, StringComparison.Ordinal);

        using var random = new RandomFeatures(_device, 4, 5);
        using Tensor narrow = _device.Zeros([2, 3]);
        Contains("x has shape [2, 3], expected [T, 4]", () => random.Of(narrow));
        Contains("x has 3 elements, expected 4", () => random.Of(new float[3]));
        Contains("inputs is 0", () => new RandomFeatures(_device, 0, 5).Dispose());
        Contains("features is 0", () => new RandomFeatures(_device, 4, 0).Dispose());
        Contains("scale is 0", () => new RandomFeatures(_device, 4, 5, scale: 0).Dispose());
        Contains("kind is 7, expected Gelu, Fourier", () => new RandomFeatures(_device, 4, 5, (RandomFeatureKind)7).Dispose());
    }

    [Fact]
    public void Texts_HaveLengthOne_AndAreAlikeByTheirRuns()
    {
        var grams = new HashedNGrams { Features = 8192 };
        float[] one = grams.Of("Transfer money to my savings account"), same = grams.Of("transfer  MONEY, to my savings account!");
        float[] near = grams.Of("transferring money to a savings account"), far = grams.Of("what is the weather like");
        double Product(float[] a, float[] b) => a.Zip(b, (e, f) => (double)e * f).Sum();
        Assert.Equal(1, Product(one, one), 1e-6);
        Assert.Equal(one, same);
        Assert.InRange(Product(one, near), 0.5, 0.95);
        Assert.InRange(Product(one, far), -0.2, 0.2);
        Assert.All(grams.Of(" ,.!?"), e => Assert.Equal(0, e));
        Assert.All(grams.Of(""), e => Assert.Equal(0, e));
        Assert.NotEqual(one, (grams with { Seed = 2 }).Of("Transfer money to my savings account"));
        // Words in another order are the same characters and other pairs.
        Assert.InRange(Product(grams.Of("red green"), grams.Of("green red")), 0.5, 0.99);
        Assert.Equal(1, Product((grams with { MostCharacters = 0 }).Of("one"), (grams with { MostCharacters = 0 }).Of("one")), 1e-6);
        // Other scripts, and letters beyond 16 bits.
        Assert.Equal(1, Product(grams.Of("吾輩は猫である 𝔘𝔫𝔦"), grams.Of("吾輩は猫である 𝔘𝔫𝔦")), 1e-6);
    }

    [Fact]
    public void Hashes_SpreadOverAllFeatures()
    {
        var grams = new HashedNGrams { Features = 64, MostWords = 1, MostCharacters = 0 };
        double[] sums = new double[64], squares = new double[64];
        const int Count = 16_000;
        for (int i = 0; i < Count; i++)
        {
            float[] one = grams.Of($"word{i}");
            for (int j = 0; j < 64; j++)
                (sums[j], squares[j]) = (sums[j] + one[j], squares[j] + one[j] * one[j]);
        }

        // 250 each, of deviation 16; signs of deviation 16 too: within five of them.
        Assert.All(squares, n => Assert.InRange(n, 170, 330));
        Assert.All(sums, n => Assert.InRange(n, -80, 80));
    }

    [Fact]
    public void BadSettingsOfTexts_AreNamed()
    {
        void Contains(string expected, HashedNGrams grams) =>
            Assert.Contains(expected, Assert.ThrowsAny<ArgumentException>(() => grams.Of("a")).Message, StringComparison.Ordinal);

        Contains("MostWords is -1, expected at least 0", new HashedNGrams { MostWords = -1 });
        Contains("LeastCharacters is 0, expected at least 1", new HashedNGrams { LeastCharacters = 0 });
        Contains("MostCharacters is -1, expected at least 0", new HashedNGrams { MostCharacters = -1 });
        Assert.Contains("features has 3 elements, expected 4096",
            Assert.Throws<ArgumentException>(() => new HashedNGrams().Write("a", new float[3])).Message, StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => new HashedNGrams { Features = 0 }.Validate());
    }
}
