using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public sealed class CounterRandomTests
{
    /// <summary>Known answers of Philox4x32-10 (Random123): counter and key all zeros, all ones, and digits of π.</summary>
    [Theory]
    [InlineData(0UL, 0UL, 0UL, 0x6627e8d5u, 0xe169c58du, 0xbc57ac4cu, 0x9b00dbd8u)]
    [InlineData(0xffffffffffffffffUL, 0xffffffffffffffffUL, 0xffffffffffffffffUL, 0x408f276du, 0x41c83b0eu, 0xa20bc7c6u, 0x6d5451fdu)]
    [InlineData(0x299f31d0a4093822UL, 0x0370734413198a2eUL, 0x85a308d3243f6a88UL, 0xd16cfe09u, 0x94fdccebu, 0x5001e420u, 0x24126ea1u)]
    public void Block_GivesKnownAnswers(ulong seed, ulong stream, ulong index, uint a, uint b, uint c, uint d) =>
        Assert.Equal((a, b, c, d), new CounterRandom(seed, stream).Block(index));

    [Fact]
    public void Words_AreTheBlocksInOrder()
    {
        var random = new CounterRandom(7, 3);
        (uint a, uint b, uint c, uint d) = random.Block(5);
        Assert.Equal([a, b, c, d], Enumerable.Range(20, 4).Select(i => random.Word((ulong)i)));
    }

    [Fact]
    public void Numbers_DependOnSeedStreamAndIndexAlone()
    {
        float[] first = Draw(new CounterRandom(1, 2)), again = Draw(new CounterRandom(1, 2));
        Compare.SameBits("again", again, first);
        Assert.NotEqual(first, Draw(new CounterRandom(2, 2)));
        Assert.NotEqual(first, Draw(new CounterRandom(1, 3)));
        Assert.NotEqual(first, Draw(new CounterRandom(1UL << 32, 2)));
        Assert.NotEqual(first, Draw(new CounterRandom(1, 2UL + (1UL << 32))));
        float[] backwards = new float[first.Length];
        for (int i = backwards.Length - 1; i >= 0; i--)
            backwards[i] = new CounterRandom(1, 2).Normal((ulong)i);
        Compare.SameBits("backwards", backwards, first);

        static float[] Draw(CounterRandom random)
        {
            float[] elements = new float[101];
            random.FillNormal(elements, 1);
            return elements;
        }
    }

    [Fact]
    public void Uniform_FillsItsInterval()
    {
        var random = new CounterRandom(4);
        float[] elements = new float[100_000];
        random.FillUniform(elements, 0, 1);
        Assert.All(elements, x => Assert.InRange(x, 0, 1 - 1f / (1 << 24)));
        Moments(elements, out double mean, out double variance);
        Assert.Equal(0.5, mean, 2e-3);
        Assert.Equal(1 / 12.0, variance, 1e-3);
        Assert.Equal(elements[17], random.Uniform(17));
        random.FillUniform(elements, -3, 5);
        Assert.InRange(elements.Min(), -3, -2.999f);
        Assert.InRange(elements.Max(), 4.999f, 5);
    }

    [Fact]
    public void Normal_HasItsMoments()
    {
        float[] elements = new float[100_000];
        new CounterRandom(5).FillNormal(elements, 2);
        Moments(elements, out double mean, out double variance);
        Assert.Equal(0, mean, 0.02);
        Assert.Equal(4, variance, 0.05);
        double within = elements.Count(x => Math.Abs(x) < 2) / 100_000.0;
        Assert.Equal(0.6827, within, 0.005);
        double neighbours = 0;
        for (int i = 0; i + 1 < elements.Length; i++)
            neighbours += (double)elements[i] * elements[i + 1] / 4 / elements.Length;
        Assert.Equal(0, neighbours, 0.01);
        Compare.Finite("normal", elements);
        Assert.Equal(2 * new CounterRandom(5).Normal(31), elements[31]);
    }

    [Fact]
    public void Below_ReachesEveryNumberAndNoOther()
    {
        var random = new CounterRandom(6);
        int[] counts = new int[7];
        for (int i = 0; i < 70_000; i++)
            counts[random.Below((ulong)i, 7)]++;
        Assert.All(counts, c => Assert.InRange(c, 9_500, 10_500));
        for (int i = 0; i < 1000; i++)
        {
            Assert.Equal(0, random.Below((ulong)i, 1));
            Assert.InRange(random.Below((ulong)i, int.MaxValue), 0, int.MaxValue - 1);
        }

        Assert.Throws<ArgumentOutOfRangeException>(() => random.Below(0, 0));
        Assert.Throws<ArgumentOutOfRangeException>(() => random.Below(0, -5));
    }

    private static void Moments(float[] elements, out double mean, out double variance)
    {
        double average = elements.Average(x => (double)x);
        mean = average;
        variance = elements.Average(x => (x - average) * (x - average));
    }
}
