using NestedLearning.Models.Learning;
using Xunit;

namespace NestedLearning.Models.Tests.Learning;

/// <summary>Tasks say what they claim to, and the same for the same seed.</summary>
public sealed class TaskTests
{
    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public void Recall_TargetsAreTheLastValuesOfTheirKeys(int writes)
    {
        var task = new AssociativeRecall(12, 5, 4, 6) { Writes = writes };
        for (ulong number = 0; number < 8; number++)
        {
            SequenceEpisode episode = task.Draw(3, number, 5);
            int pairs = episode.Support / 2 / writes;
            Assert.Contains(pairs, (int[])[4, 6]);
            Assert.Equal(episode.Support + pairs, episode.Time);
            for (int b = 0; b < episode.Batch; b++)
            {
                int[] tokens = episode.Tokens[(b * episode.Time)..((b + 1) * episode.Time)],
                    targets = episode.Targets[(b * episode.Time)..((b + 1) * episode.Time)];
                Assert.All(targets[..episode.Support], t => Assert.Equal(-1, t));
                var last = new Dictionary<int, int>();
                for (int i = 0; i < episode.Support; i += 2)
                {
                    Assert.InRange(tokens[i], 0, 11);
                    Assert.InRange(tokens[i + 1], 12, 16);
                    last[tokens[i]] = tokens[i + 1];
                }

                Assert.Equal(pairs, last.Count);
                Assert.Equal(last.Keys.Order(), tokens[episode.Support..].Order());
                for (int i = episode.Support; i < episode.Time; i++)
                    Assert.Equal(last[tokens[i]], targets[i]);
            }
        }
    }

    [Theory]
    [InlineData(2)]
    [InlineData(5)]
    public void Counting_TargetsAreTheOnesSoFar(int modulus)
    {
        SequenceEpisode episode = new ModularCounting(modulus, 40).Draw(1, 2, 3);
        for (int i = 0; i < episode.Tokens.Length; i++)
            Assert.Equal(episode.Tokens[(i / 40 * 40)..(i + 1)].Sum() % modulus, episode.Targets[i]);
        Assert.Contains(1, episode.Tokens);
        Assert.Contains(0, episode.Tokens);
    }

    [Fact]
    public void Draws_AreTheSameForTheSameSeedAndNumber_AndOthersElse()
    {
        var task = new AssociativeRecall(32, 8, 8);
        Assert.Equal(task.Draw(1, 2, 4).Tokens, task.Draw(1, 2, 4).Tokens);
        Assert.NotEqual(task.Draw(1, 2, 4).Tokens, task.Draw(1, 3, 4).Tokens);
        Assert.NotEqual(task.Draw(1, 2, 4).Tokens, task.Draw(2, 2, 4).Tokens);
    }

    [Fact]
    public void MarkovSource_EntropyIsThatOfItsOdds()
    {
        // Two stretches of one source have nearly the same entropy, far below that of equal odds; another source differs.
        var source = new MarkovSource(4);
        byte[] a = source.Draw(0, 20000, out double first);
        source.Draw(1, 20000, out double second);
        Assert.InRange(first, 0.5, 3);
        Assert.Equal(first, second, 0.1);
        Assert.All(a, b => Assert.InRange(b, (byte)'a', (byte)('a' + 15)));

        // What follows each pair of symbols, counted, has the entropy that is claimed.
        var counts = new Dictionary<(byte, byte), int[]>();
        for (int i = 2; i < a.Length; i++)
        {
            if (!counts.TryGetValue((a[i - 2], a[i - 1]), out int[]? next))
                counts[(a[i - 2], a[i - 1])] = next = new int[16];
            next[a[i] - 'a']++;
        }

        double bits = counts.Values.Sum(n => n.Where(c => c > 0).Sum(c => -c * Math.Log2((double)c / n.Sum()))) / a.Length;
        Assert.Equal(first, bits, 0.1);
    }

    [Fact]
    public void Ridge_RecoversALinearFunction_AndKeepsToItsCenterWithoutExamples()
    {
        float[] w = [0.5f, -2, 1], center = [1, 1, 1];
        var ridge = new RidgeRegression(1e-9, center);
        Assert.Equal(6, ridge.Predict([1, 2, 3]), 1e-12);
        foreach (float[] x in (float[][])[[1, 0, 2], [0, 1, -1], [3, 1, 1]])
            ridge.Add(x, x.Zip(w, (a, b) => a * b).Sum());
        Assert.Equal(0.5 - 4 + 3, ridge.Predict([1, 2, 3]), 1e-6);
        Assert.Throws<ArgumentOutOfRangeException>(() => new RidgeRegression(0, center));
        Assert.Throws<ArgumentException>(() => ridge.Predict([1, 2]));
    }

    [Fact]
    public void Ridge_IsTheMinimumOfItsObjective()
    {
        const double Lambda = 0.7;
        RegressionEpisode episode = new LinearRegression(3, 5, 0.5f).Draw(1, 0, 1);
        var ridge = new RidgeRegression(Lambda, new float[3]);
        for (int t = 0; t < 5; t++)
            ridge.Add(episode.X.AsSpan(3 * t, 3), episode.Y[t]);
        double[] w = [ridge.Predict([1, 0, 0]), ridge.Predict([0, 1, 0]), ridge.Predict([0, 0, 1])];
        double[] gradient = NestedLearning.Testing.FiniteDifferences.Gradient(
            () => Enumerable.Range(0, 5).Sum(t => Math.Pow(episode.Y[t] - Enumerable.Range(0, 3).Sum(d => w[d] * episode.X[3 * t + d]), 2))
            + Lambda * w.Sum(e => e * e), w);
        Assert.All(gradient, g => Assert.Equal(0, g, 1e-8));
    }

    [Fact]
    public void Arguments_AreChecked()
    {
        Assert.Throws<ArgumentException>(() => new AssociativeRecall(4, 4, 5));
        Assert.Throws<ArgumentOutOfRangeException>(() => new AssociativeRecall(4, 1, 4));
        Assert.Throws<ArgumentOutOfRangeException>(() => new AssociativeRecall(4, 4, 4) { Writes = 0 });
        Assert.Throws<ArgumentOutOfRangeException>(() => new ModularCounting(1, 4));
        Assert.Throws<ArgumentOutOfRangeException>(() => new MarkovSource(1, 300));
        using Device device = Device.Open("managed");
        using var model = new SequenceModel(device, ModelConfiguration.LinearAttention with
        {
            Vocabulary = 4,
            Dim = 8,
            Heads = 1,
            Blocks = 1,
            ContextLength = 0,
            Levels = [new("only", 1, 1e-3f, 8)],
            ProjectionLevel = 0,
        });
        var learner = new SequenceLearner(model);
        Assert.Throws<ArgumentException>(() => learner.Accuracy(new SequenceEpisode(2, [0, 1, 2], [0, 1, 2])));
        Assert.Throws<ArgumentException>(() => learner.Accuracy(new SequenceEpisode(1, [0, 1, 2], [0, 1, 2], Support: 3)));
        Assert.Throws<ArgumentException>(() => learner.Accuracy(new SequenceEpisode(1, [0, 1, 2], [0, 1, 2], Support: 1)));
        Assert.Throws<ArgumentException>(() =>
            new EpisodicTrainer<SequenceEpisode>(learner).Evaluate(new SequenceEpisode(1, [0, 1, 2], [-1, -1, -1])));
    }
}
