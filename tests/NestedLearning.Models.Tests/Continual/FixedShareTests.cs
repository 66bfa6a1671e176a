using NestedLearning.Models.Continual;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Models.Tests.Continual;

public sealed class FixedShareTests
{
    // Sums of some hundred doubles.
    private const double Rounding = 1e-10;

    [Theory]
    [InlineData(2, 0.1)]
    [InlineData(3, 0.02)]
    [InlineData(3, 1)]
    public void Loss_IsThatOfTheSumOverAllSequencesOfMembers(int members, double share)
    {
        const int Steps = 6;
        double[][] losses = Losses(members, Steps, seed: 3);
        var mixture = new FixedShare(share, members);
        double mixed = losses.Sum(l => mixture.Step(l));

        // The prior that the update stands for: a Markov chain that draws a member anew with probability s.
        double likelihood = 0;
        int sequences = (int)Math.Pow(members, Steps);
        for (int code = 0; code < sequences; code++)
        {
            double joint = 1.0 / members;
            int previous = -1, rest = code;
            for (int t = 0; t < Steps; t++, rest /= members)
            {
                int member = rest % members;
                if (t > 0)
                    joint *= share / members + (member == previous ? 1 - share : 0);
                joint *= Math.Exp(-losses[t][member]);
                previous = member;
            }

            likelihood += joint;
        }

        Assert.Equal(-Math.Log(likelihood), mixed, Rounding);
        Assert.Equal(1, Sum(mixture), Rounding);
    }

    [Theory]
    [InlineData(2, 1e-3)]
    [InlineData(4, 1e-3)]
    [InlineData(4, 0.3)]
    public void Loss_IsWithinTheBoundOfEverySequence_WithSleepersToo(int members, double share)
    {
        const int Steps = 400;
        foreach (bool sleeps in (bool[])[false, true])
        {
            double[][] losses = Losses(members, Steps, seed: 5);
            var mixture = new FixedShare(share, members);
            double mixed = 0;
            for (int t = 0; t < Steps; t++)
            {
                for (int i = 1; sleeps && i < members; i++)
                    losses[t][i] = (t / 20 + i) % 3 == 0 ? double.NaN : losses[t][i];
                double own = mixture.Step(losses[t]);
                mixed += own;
                // Who sleeps is taken to say what the mixture says.
                losses[t] = Array.ConvertAll(losses[t], l => double.IsNaN(l) ? own : l);
            }

            // The best sequence with m switches, for every m.
            double[][] best = new double[Steps][];
            for (int switches = 0; switches < 30; switches++)
            {
                best = BestWith(losses, switches, best);
                double bound = Math.Log(members) + switches * Math.Log(members / share)
                    + (Steps - 1 - switches) * Math.Log(1 / (1 - share + share / members));
                Assert.True(mixed <= best[^1].Min() + bound + Rounding,
                    $"{switches} switches: {mixed} nats, the best sequence has {best[^1].Min()}, the bound above it is {bound}.");
            }
        }
    }

    [Fact]
    public void MemberThatIsRight_GetsTheWeight_AndAnotherOnceItIs()
    {
        var mixture = new FixedShare(1e-3, 3);
        for (int t = 0; t < 50; t++)
            mixture.Step([3, 1, 3]);
        Assert.True(mixture.Weights[1] > 0.99);
        for (int t = 0; t < 50; t++)
            mixture.Step([1, 3, 3]);
        Assert.True(mixture.Weights[0] > 0.99);
    }

    [Fact]
    public void LossesBeyondTheRangeOfProbabilities_AreMixed()
    {
        var mixture = new FixedShare(1e-3, 2);
        Assert.Equal(2000 + Math.Log(2), mixture.Step([2000, 4000]), Rounding);
        // The other member has s/2 of the weight.
        Assert.Equal(1 - Math.Log(5e-4), mixture.Step([4000, 1]), Rounding);
        Assert.Equal(1, Sum(mixture), Rounding);
    }

    [Fact]
    public void SplitAndRemoval_KeepTheSum_AndTwinsPredictAsOne()
    {
        var mixture = new FixedShare(1e-3, 2);
        mixture.Step([1, 2]);
        double[] before = mixture.Weights.ToArray();
        mixture.Split(0);
        Assert.Equal([before[0] / 2, before[1], before[0] / 2], mixture.Weights.ToArray());
        FixedShare twin = mixture.Clone();
        twin.Remove(2, heir: 0);
        Assert.Equal(before, twin.Weights.ToArray());
        Assert.Equal(twin.Step([2, 1]), mixture.Step([2, 1, 2]), Rounding);
    }

    [Fact]
    public void Weights_AreSavedToTheBit_AndOthersRefused()
    {
        var mixture = new FixedShare(1e-3, 3);
        mixture.Step([1, 2, 0.3]);
        FixedShare loaded = FixedShare.Load(1e-3, mixture.Save(), 3, "w");
        Assert.Equal(mixture.Weights.ToArray(), loaded.Weights.ToArray());
        foreach (double[] wrong in (double[][])[[0.5, 0.4], [0, 1], [double.NaN, 1], [1.5, -0.5], [0.2, 0.3, 0.5]])
            Assert.Contains("'w'", Assert.Throws<CheckpointException>(() =>
                FixedShare.Load(1e-3, Array.ConvertAll(wrong, BitConverter.DoubleToInt64Bits), 2, "w")).Message, StringComparison.Ordinal);
    }

    // The least loss up to each step with a number of switches and each member at its end, from those with one switch fewer.
    private static double[][] BestWith(double[][] losses, int switches, double[][] fewer)
    {
        int members = losses[0].Length;
        double[][] best = new double[losses.Length][];
        for (int t = 0; t < losses.Length; t++)
        {
            best[t] = new double[members];
            for (int i = 0; i < members; i++)
            {
                double stay = t == 0 ? (switches == 0 ? 0 : double.PositiveInfinity) : best[t - 1][i];
                double other = t == 0 || switches == 0 ? double.PositiveInfinity
                    : Enumerable.Range(0, members).Where(j => j != i).Min(j => fewer[t - 1][j]);
                best[t][i] = losses[t][i] + Math.Min(stay, other);
            }
        }

        return best;
    }

    // Each member is the better one for stretches of its own.
    private static double[][] Losses(int members, int steps, ulong seed)
    {
        var data = new TestData(seed);
        float[] noise = data.Normal(steps * members);
        return [.. Enumerable.Range(0, steps).Select(t => Enumerable.Range(0, members)
            .Select(i => Math.Abs(noise[t * members + i]) + (t / 40 % members == i ? 0 : 1.0)).ToArray())];
    }

    private static double Sum(FixedShare mixture) => mixture.Weights.ToArray().Sum();
}
