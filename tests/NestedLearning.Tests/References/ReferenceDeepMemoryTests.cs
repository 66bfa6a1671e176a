using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>The deep memory's reference, judged by golden results and finite differences as in <see cref="ReferenceTests"/>.</summary>
public sealed class ReferenceDeepMemoryTests
{
    [Theory]
    [MemberData(nameof(GoldenNames.DeepMemory), MemberType = typeof(GoldenNames))]
    public void Forward_GivesGoldenResults(string name)
    {
        GoldenCase golden = GoldenCase.Load(name);
        DeepMemoryResult result = ReferenceDeepMemory.Forward(DeepMemoryCase.FromGolden(golden));
        golden.CheckReference(output => output == "o" ? result.O : Part(result.Final, output));
    }

    [Theory]
    [MemberData(nameof(GoldenNames.DeepMemoryBackward), MemberType = typeof(GoldenNames))]
    public void Backward_GivesGoldenResults(string name)
    {
        GoldenCase golden = GoldenCase.Load(name);
        DeepMemoryCase c = DeepMemoryCase.FromGolden(golden);
        double[] dOutput = golden.Optional("do") ?? new double[c.TokenShape.ElementCount];
        DeepMemoryInputGradients g = ReferenceDeepMemory.Backward(c, dOutput, new DeepMemoryState(
            Given("dw1"), Given("dw2"), Given("dp1"), Given("dp2"), Given("dchunk_start1"), Given("dchunk_start2")));
        golden.CheckReference(output => output switch
        {
            "dq" => g.Q,
            "dk" => g.K,
            "dv" => g.V,
            "dlog_alpha" => g.LogAlpha,
            "dtheta" => g.Theta,
            "derase" => g.Erase,
            "dmu" => g.Mu,
            _ => Part(g.Initial, output[1..]),
        });

        double[] Given(string weights) => golden.Optional(weights) ?? new double[c.Shape1.ElementCount];
    }

    [Theory]
    [InlineData(MemoryObjective.L2, ScanRead.After, true, 0)]
    [InlineData(MemoryObjective.L2, ScanRead.After, false, 2)]
    [InlineData(MemoryObjective.L2, ScanRead.Before, true, 1)]
    [InlineData(MemoryObjective.L2, ScanRead.ChunkStart, true, 2)]
    [InlineData(MemoryObjective.DotProduct, ScanRead.After, true, 1)]
    [InlineData(MemoryObjective.DotProduct, ScanRead.Before, false, 0)]
    [InlineData(MemoryObjective.DotProduct, ScanRead.ChunkStart, false, 0)]
    public void Backward_MatchesFiniteDifferences(MemoryObjective objective, ScanRead read, bool residual, int phase)
    {
        // The second length ends a chunk where the first does not, so that the carried start is the final state.
        foreach (int time in (ReadOnlySpan<int>)[7, 9 - phase])
        {
            DeepMemoryCase c = DeepMemoryCase.Create(21, [2, time, 2, 3, 4], new DeepMemorySettings(3, objective, read, residual)
            {
                Phase = phase,
            });
            var data = new TestData(22);
            double[] dOutput = Compare.ToDouble(data.Normal(c.TokenShape));
            var upstream = new DeepMemoryState(Weights(), Weights(), Weights(), Weights(), Weights(), Weights());
            DeepMemoryInputGradients g = ReferenceDeepMemory.Backward(c, dOutput, upstream);
            Check("dq", c.Q, g.Q);
            Check("dk", c.K, g.K);
            Check("dv", c.V, g.V);
            Check("dlog_alpha", c.LogAlpha!, g.LogAlpha);
            Check("dtheta", c.Theta!, g.Theta);
            Check("derase", c.Erase!, g.Erase);
            Check("dmu", c.Mu!, g.Mu);
            Check("dw1", c.W1, g.Initial.W1);
            Check("dw2", c.W2, g.Initial.W2);
            Check("dp1", c.P1!, g.Initial.P1);
            Check("dp2", c.P2!, g.Initial.P2);
            if (phase > 0)
            {
                Check("dchunk_start1", c.ChunkStart1!, g.Initial.ChunkStart1);
                Check("dchunk_start2", c.ChunkStart2!, g.Initial.ChunkStart2);
            }

            double[] Weights() => Compare.ToDouble(data.Normal(c.Shape1));

            void Check(string name, double[] input, double[] gradient) =>
                Compare.Close(name, gradient, FiniteDifferences.Gradient(Loss, input), Tolerances.FiniteDifference);

            double Loss()
            {
                (double[] o, DeepMemoryState final, _, _, _, _) = ReferenceDeepMemory.Forward(c);
                return FiniteDifferences.Dot(o, dOutput) + FiniteDifferences.Dot(final.W1, upstream.W1)
                    + FiniteDifferences.Dot(final.W2, upstream.W2)
                    + FiniteDifferences.Dot(final.P1, upstream.P1) + FiniteDifferences.Dot(final.P2, upstream.P2)
                    + FiniteDifferences.Dot(final.ChunkStart1, upstream.ChunkStart1)
                        + FiniteDifferences.Dot(final.ChunkStart2, upstream.ChunkStart2);
            }
        }
    }

    private static double[] Part(DeepMemoryState state, string name) => name switch
    {
        "w1" => state.W1,
        "w2" => state.W2,
        "p1" => state.P1,
        "p2" => state.P2,
        "chunk_start1" => state.ChunkStart1,
        "chunk_start2" => state.ChunkStart2,
        _ => [],
    };
}
