using NestedLearning.Models.Continual;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Models.Tests.Continual;

public sealed class PhaseStreamTests
{
    private static readonly StreamDomain[] s_domains =
        [new("a", Text(0, 40_000)), new("b", Text(1, 30_000)), new("unused", Text(2, 10))];

    [Fact]
    public void Phases_AreDifferentPartsOfTheirDomains_AndNoneOfTheHeldOut()
    {
        PhaseStream stream = PhaseStream.Create(s_domains, ["b", "a", "b"], 5000, 3000, seed: 4);
        Assert.Equal(["b", "a"], stream.Domains.Select(d => d.Name));
        Assert.Equal([0, 1, 0], stream.Phases.Select(p => p.Domain));
        Assert.Equal(15_000, stream.Length);
        Assert.Equal("b again", stream.NameOf(2));
        byte[] b = s_domains[1].Text.ToArray();
        Assert.Equal(b[^3000..], stream.HeldOut(0).ToArray());
        Assert.Equal(b[^(3000 + PhaseStream.WarmBytes)..^3000], stream.Warm(0).ToArray());
        int start = b.AsSpan().IndexOf(stream.Phases[0].Text.Span);
        Assert.InRange(start, 0, b.Length - 3000 - PhaseStream.WarmBytes - 10_000);
        Assert.Equal(b[(start + 5000)..(start + 10_000)], stream.Phases[2].Text.ToArray());
        // Another seed begins elsewhere and holds out the same.
        PhaseStream other = PhaseStream.Create(s_domains, ["b", "a", "b"], 5000, 3000, seed: 5);
        Assert.NotEqual(stream.Phases[0].Text.ToArray(), other.Phases[0].Text.ToArray());
        Assert.Equal(stream.HeldOut(0).ToArray(), other.HeldOut(0).ToArray());
    }

    [Fact]
    public void WhatDoesNotFit_IsNamed()
    {
        void Refused(string message, string[] order, int bytes = 5000, int heldOut = 3000) => Assert.Contains(message,
            Assert.ThrowsAny<ArgumentException>(() => PhaseStream.Create(s_domains, order, bytes, heldOut, 1)).Message,
            StringComparison.Ordinal);
        Refused("There is no domain 'c', expected one of a, b, unused", ["a", "c"]);
        Refused("'b' has 30,000 bytes, expected at least 32,096", ["b", "a", "b"], bytes: 12_500);
        Refused("A phase has 100 bytes, expected at least 4096", ["a"], bytes: 100);
        Refused("0 bytes are held out", ["a"], heldOut: 0);
        Refused("The order is empty", []);
    }

    [Fact]
    public void Forgetting_IsTheRiseUntilADomainReturnsOrTheStreamEnds()
    {
        PhaseResults results = Results([0, 1, 2, 0], [[2, 9, 9], [3, 2.5, 9], [6, 5, 1], [2, 4, 4]]);
        // Domain 0 rises by 4 until it returns, 1 by 1.5 and 2 by 3 until the end.
        Assert.Equal(new double?[] { 4, 1.5, 3, null }, Enumerable.Range(0, 4).Select(results.ForgottenAfter));
        Assert.Equal(8.5 / 3, results.Forgetting, 1e-12);
        Assert.Equal(10.0 / 3, results.HeldOutAtEnd, 1e-12);
        Assert.Equal((results.WholeStream + results.HeldOutAtEnd) / 2, results.Score);
        // It returned with 3 where it had ended with 2.
        Assert.Equal(0.5, results.ReturnExcess);
        Assert.Null(Results([0, 1], [[1, 2], [1, 1]]).ReturnExcess);
        Assert.Equal(double.PositiveInfinity, (results with { Diverged = "why" }).Score);
        // A domain that goes on in the next phase is not forgotten there.
        Assert.Equal(new double?[] { null, 1, null },
            Enumerable.Range(0, 3).Select(Results([0, 0, 1], [[3, 9], [2, 9], [3, 1]]).ForgottenAfter));
    }

    [Fact]
    public void Run_MeasuresWhatTheLearnerDoes()
    {
        using Device device = Device.Open("managed");
        var configuration = new ModelConfiguration
        {
            Dim = 8, Heads = 2, Blocks = 1, ContextLength = 64, ProjectionLevel = 0, Levels = [new("only", 64, 5e-3f, 8)],
        };
        PhaseStream stream = PhaseStream.Create(s_domains, ["a", "b", "a"], 4096, 512, seed: 1);
        using StreamLearner learner = StreamLearner.Create(device, configuration, "a"),
            twin = StreamLearner.Create(device, configuration, "b");
        long read = 0;
        PhaseResults results = PhaseRun.Run(learner, stream, at => read = at, stop: TestContext.Current.CancellationToken);
        Assert.Equal((12_288, 12_288), (read, results.Bytes));
        float[] losses = new float[64];
        for (int i = 0; i < 3; i++)
        {
            double sum = 0, end = 0;
            for (int p = 0; p < 4096; p += 64)
            {
                twin.Read(stream.Phases[i].Text.Span.Slice(p, 64), losses);
                sum += losses.Sum(l => (double)l);
                for (int t = 0; t < 64; t++)
                    end += p + t >= 4096 - 409 ? losses[t] : 0;
            }

            Assert.Equal(sum / 4096 / Math.Log(2), results.Phases[i], 1e-9);
            Assert.Equal(results.Phases[i], results.Beginnings[i], 1e-12);
            Assert.Equal(end / 409 / Math.Log(2), results.Ends[i], 1e-9);
            for (int d = 0; d < 2; d++)
            {
                Assert.Equal(twin.Evaluate(stream.HeldOut(d).Span) / Math.Log(2), results.HeldOut[i][d], 1e-12);
                using IStreamLearner copy = twin.Fork("copy");
                Read(copy, stream.Warm(d).Span);
                copy.Learns = false;
                Assert.Equal(Read(copy, stream.HeldOut(d).Span), results.AfterReading[i][d], 1e-9);
            }
        }

        using StreamLearner third = StreamLearner.Create(device, configuration, "c");
        PhaseResults atEnd = PhaseRun.Run(third, stream, everyPhase: false, stop: TestContext.Current.CancellationToken);
        Assert.Equal((results.Score, double.NaN, double.NaN), (atEnd.Score, atEnd.HeldOut[1][0], atEnd.AfterReading[2][0]));
        Assert.Equal(learner.ParameterCount, results.Parameters);
        // Weights, error terms, and Adam's two moments.
        Assert.InRange(results.StateBytes, 16 * results.Parameters, 16.5 * results.Parameters);
        Assert.True(results.Seconds > 0);
    }

    [Fact]
    public void RunThatDiverges_HasNoFigures_AndOneThatIsStoppedThrows()
    {
        using Device device = Device.Open("managed");
        var configuration = new ModelConfiguration
        {
            Dim = 8, Heads = 2, Blocks = 1, WarmupCommits = 0, ClipNorm = double.PositiveInfinity, ProjectionLevel = 0,
            Levels = [new("only", 64, 1e30f, 8) { Optimizer = new GradientDescent() }],
        };
        PhaseStream stream = PhaseStream.Create(s_domains, ["a"], 4096, 512, seed: 1);
        using StreamLearner learner = StreamLearner.Create(device, configuration, "a");
        PhaseResults results = PhaseRun.Run(learner, stream, stop: TestContext.Current.CancellationToken);
        Assert.NotNull(results.Diverged);
        Assert.True(double.IsNaN(results.WholeStream));
        Assert.Equal(double.PositiveInfinity, results.Score);
        Assert.Throws<OperationCanceledException>(() => PhaseRun.Run(learner, stream, stop: new CancellationToken(canceled: true)));
    }

    private static double Read(IStreamLearner learner, ReadOnlySpan<byte> text)
    {
        float[] losses = new float[64];
        double sum = 0;
        for (int p = 0; p < text.Length; p += 64)
        {
            learner.Read(text.Slice(p, 64), losses);
            sum += losses.Sum(l => (double)l);
        }

        return sum / text.Length / Math.Log(2);
    }

    private static PhaseResults Results(int[] domains, double[][] heldOut) => new()
    {
        Domains = domains, Phases = [.. domains.Select(_ => 2.0)], Beginnings = [.. domains.Select(_ => 3.0)],
        Ends = [.. domains.Select(_ => 2.0)], HeldOut = heldOut, AfterReading = heldOut, Bytes = 1, Parameters = 1, StateBytes = 1,
        Seconds = 1,
    };

    private static byte[] Text(byte domain, int length) =>
        [.. new TestData(domain).Below(length, 16).Select(b => (byte)(32 * domain + b))];
}
