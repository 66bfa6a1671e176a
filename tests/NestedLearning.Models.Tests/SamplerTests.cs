using Xunit;

namespace NestedLearning.Models.Tests;

public sealed class SamplerTests
{
    private static readonly float[] s_logits = [0, MathF.Log(2), float.NegativeInfinity, MathF.Log(5)];

    [Fact]
    public void Distribution_IsTheSoftmax()
    {
        Assert.Equal([0.125, 0.25, 0, 0.625], new Sampler().Distribution(s_logits).Select(p => Math.Round(p, 6)));
        Assert.Equal([1 / 30.0, 4 / 30.0, 0, 25 / 30.0], new Sampler { Temperature = 0.5f }.Distribution(s_logits), (e, a) =>
            Math.Abs(e - a) < 1e-6);
        Assert.Equal([0, 2 / 7.0, 0, 5 / 7.0], new Sampler { Top = 2 }.Distribution(s_logits), (e, a) => Math.Abs(e - a) < 1e-6);
        Assert.Equal([0, 0, 0, 1], new Sampler { Temperature = 0 }.Distribution(s_logits));
    }

    [Fact]
    public void Draws_FollowTheDistribution_AndRepeat()
    {
        var sampler = new Sampler { Seed = 9 };
        int[] counts = new int[4];
        for (int i = 0; i < 20_000; i++)
            counts[sampler.Draw(s_logits, (ulong)i)]++;
        // Four standard deviations of the largest, √(20000 · 0.23).
        Assert.Equal(2500, counts[0], 280.0);
        Assert.Equal(5000, counts[1], 280.0);
        Assert.Equal(0, counts[2]);
        Assert.Equal(Enumerable.Range(0, 50).Select(i => sampler.Draw(s_logits, (ulong)i)),
            Enumerable.Range(0, 50).Select(i => new Sampler { Seed = 9 }.Draw(s_logits, (ulong)i)));
        Assert.NotEqual(Enumerable.Range(0, 50).Select(i => sampler.Draw(s_logits, (ulong)i)),
            Enumerable.Range(0, 50).Select(i => new Sampler { Seed = 8 }.Draw(s_logits, (ulong)i)));
    }

    [Fact]
    public void Arguments_AreChecked()
    {
        Assert.Contains("Temperature is -1",
            Assert.Throws<ArgumentException>(() => new Sampler { Temperature = -1 }.Draw(s_logits, 0)).Message, StringComparison.Ordinal);
        Assert.Contains("Top is -2", Assert.Throws<ArgumentException>(() => new Sampler { Top = -2 }.Draw(s_logits, 0)).Message,
            StringComparison.Ordinal);
        Assert.Throws<ArgumentException>(() => new Sampler().Draw([0, float.NaN], 0));
        Assert.Throws<ArgumentException>(() => new Sampler().Draw([float.NegativeInfinity], 0));
        Assert.Throws<ArgumentException>(() => new Sampler().Draw([], 0));
    }
}
