using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public abstract class MixtureTests(string backend) : DenseTests(backend)
{
    [Theory]
    [InlineData(0f)]
    [InlineData(1e-3f)]
    [InlineData(0.25f)]
    [InlineData(1f)]
    public void Mix_MatchesTheEquations(float share)
    {
        foreach ((int time, int members) in (ReadOnlySpan<(int, int)>)[(0, 3), (1, 1), (1, 4), (2, 2), (40, 3), (100, 9), (300, 1)])
        {
            var data = new TestData((ulong)(time + members));
            float[] logP = data.Uniform(time * members, -4, 0.5f), w = data.Uniform(members, 0.1f, 1);
            float sum = w.Sum();
            w = Array.ConvertAll(w, e => e / sum);
            double[] expected = Compare.ToDouble(w), mixed = new double[time];
            for (int t = 0; t < time; t++)
            {
                double p = Enumerable.Range(0, members).Sum(i => expected[i] * Math.Exp(logP[t * members + i]));
                mixed[t] = Math.Log(p);
                for (int i = 0; i < members; i++)
                    expected[i] = (1 - (double)share) * expected[i] * Math.Exp(logP[t * members + i]) / p + (double)share / members;
            }

            Tensor weights = InOut([members], w), o = Output([time]), without = InOut([members], w);
            Mixture.Mix(Input([time, members], logP), weights, share, o);
            Mixture.Mix(Input([time, members], logP), without, share, null);
            Compare.Close("o", o, mixed, Tolerances.Mixture.Forward);
            Compare.Close("w", weights, expected, Tolerances.Mixture.Forward);
            Compare.SameBits("w without o", without.ToArray(), weights.ToArray());
            EndCase();
        }
    }

    [Fact]
    public void Golden_IsMatched()
    {
        foreach (string name in GoldenCase.Names("mixture"))
        {
            GoldenCase golden = GoldenCase.Load(name);
            golden.HasResults("o", "w");
            Shape shape = golden.InputShape("log_p");
            Tensor o = Output([shape[0]]);
            float[] w = new float[shape[1]];
            w.AsSpan().Fill(1f / shape[1]);
            if (golden.Optional("w") is { } given)
                w = Array.ConvertAll(given, e => (float)e);
            Tensor weights = InOut([shape[1]], w);
            Mixture.Mix(Input(shape, golden.Input("log_p")), weights, golden.Number("share"), o);
            golden.Check("o", o);
            golden.Check("w", weights);
        }
    }

    /// <summary>The bound of the specification, against predictors chosen with hindsight: the best one of each stretch.</summary>
    [Theory]
    [InlineData(1, 0)]
    [InlineData(2, 3)]
    [InlineData(3, 11)]
    [InlineData(5, 60)]
    public void Loss_IsWithinTheBoundOfAnySequenceOfPredictors(int seed, int switches)
    {
        const int Time = 600, Members = 4;
        const double Share = 0.01;
        var data = new TestData((ulong)seed);
        float[] logP = data.Uniform(Time * Members, -6, -0.01f);
        int[] cuts = [0, .. data.Below(switches, Time - 1).Select(c => c + 1).Order(), Time];
        int[] best = data.Below(switches + 1, Members);
        double sequence = 0;
        for (int stretch = 0; stretch <= switches; stretch++)
        {
            for (int t = cuts[stretch]; t < cuts[stretch + 1]; t++)
            {
                // Hard for the mixture: who is good now was bad before.
                for (int i = 0; i < Members; i++)
                    logP[t * Members + i] -= i == best[stretch] ? 0 : 40;
                sequence -= logP[t * Members + best[stretch]];
            }
        }

        Tensor o = Output([Time]);
        Mixture.Mix(Input([Time, Members], logP), InOut([Members], [0.25f, 0.25f, 0.25f, 0.25f]), (float)Share, o);
        double mixture = -o.ToArray().Sum(e => (double)e);
        double bound = Math.Log(Members) + switches * Math.Log(Members / Share)
            + (Time - 1 - switches) * Math.Log(1 / (1 - Share + Share / Members));
        Assert.InRange(mixture - sequence, double.NegativeInfinity, bound + 1e-3);
        // Not because there is nothing to lose: somebody who stays with one predictor loses thousands.
        if (switches > 0)
            Assert.True(bound < 1000);
    }

    [Fact]
    public void ProbabilitiesFarBelowFloat32_AreMixed()
    {
        Tensor w = InOut([3], [0.5f, 0.25f, 0.25f]), o = Output([2]);
        Mixture.Mix(Input([2, 3], [-5000, -5001, float.NegativeInfinity, -1e30f, -1e30f, -1e30f]), w, 0, o);
        Assert.Equal(-5000 + Math.Log(0.5 + 0.25 * Math.Exp(-1)), o.ToArray()[0], 1e-3);
        Assert.Equal(-1e30f, o.ToArray()[1]);
        Assert.Equal(0, w.ToArray()[2]);
        Assert.Equal(1, w.ToArray().Sum(), 1e-6);
    }

    [Fact]
    public void PredictorThatWasLostForLong_ComesBackWithinACall()
    {
        // Without a share: weights are logarithms, so that 2000 nats behind is not lost.
        float[] logP = [.. Enumerable.Range(0, 300).SelectMany(t => t < 100 ? new float[] { -1, -21 } : [-21, -1])];
        Tensor w = InOut([2], [0.5f, 0.5f]);
        Mixture.Mix(Input([300, 2], logP), w, 0, null);
        Assert.Equal([0, 1], w.ToArray());
    }

    [Fact]
    public void ImpossibleObservation_TellsNothing()
    {
        float none = float.NegativeInfinity;
        Tensor w = InOut([3], [0.5f, 0.3f, 0.2f]), o = Output([2]);
        Mixture.Mix(Input([2, 3], [none, none, none, -1, -1, -1]), w, 0, o);
        Assert.Equal([none, -1], o.ToArray().Select(e => MathF.Round(e, 5)));
        Compare.Within("w", w.ToArray(), [0.5f, 0.3f, 0.2f], 1e-6);
        Mixture.Mix(Input([1, 3], [none, none, none]), w, 0.3f, null);
        Compare.Within("w", w.ToArray(), [0.45f, 0.31f, 0.24f], 1e-6);
        // Possible for one without a weight alone.
        Tensor certain = InOut([2], [1, 0]);
        Mixture.Mix(Input([1, 2], [none, -1]), certain, 0, null);
        Assert.Equal([1, 0], certain.ToArray());
    }

    [Fact]
    public void BadArguments_AreNamed_AndNothingIsWritten()
    {
        float[] good = [0.5f, 0.5f];
        Tensor w = InOut([2], good), o = Output([3]);
        float[] logs = [-1, -2, -3, -4, -5, -6];
        void Contains(string expected, Action action) =>
            Assert.Contains(expected, Assert.ThrowsAny<ArgumentException>(action).Message, StringComparison.Ordinal);

        Tensor logP = Input([3, 2], logs);
        Contains("share is -0.1, expected 0 to 1", () => Mixture.Mix(logP, w, -0.1f, o));
        Contains("share is 1.1, expected 0 to 1", () => Mixture.Mix(logP, w, 1.1f, o));
        Contains("share is NaN", () => Mixture.Mix(logP, w, float.NaN, o));
        Contains("w has shape [3], expected [2]", () => Mixture.Mix(logP, InOut([3], [1, 0, 0]), 0, o));
        Contains("o has shape [2], expected [3]", () => Mixture.Mix(logP, w, 0, Output([2])));
        Contains("logP has shape [6], expected [T, k]", () => Mixture.Mix(Input([6], logs), w, 0, o));
        Contains("logP has shape [3, 0], expected at least one predictor", () => Mixture.Mix(Input([3, 0], []), Input([0], []), 0, o));
        Contains("w has -0.5 at [0], expected at least 0", () => Mixture.Mix(logP, InOut([2], [-0.5f, 1.5f]), 0, o));
        Contains("w has NaN at [1]", () => Mixture.Mix(logP, InOut([2], [0.5f, float.NaN]), 0, o));
        Contains("w sums up to 0.9", () => Mixture.Mix(logP, InOut([2], [0.5f, 0.4f]), 0, o));
        foreach (float bad in (ReadOnlySpan<float>)[float.NaN, float.PositiveInfinity])
        {
            logs[3] = bad;
            Contains("at [1, 1], expected finite numbers or -Infinity", () => Mixture.Mix(Input([3, 2], logs), w, 0, o));
        }

        Compare.SameBits("w", w.ToArray(), good);
        Assert.All(o.ToArray(), e => Assert.True(float.IsNaN(e)));
    }
}

public sealed class ManagedMixtureTests() : MixtureTests("managed");

public sealed class CpuMixtureTests() : MixtureTests("cpu");
