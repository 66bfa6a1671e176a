using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>
/// The references are what kernels are judged by, so they are judged here: against golden results, which have float32
/// rounding alone between them, and their gradients against finite differences.
/// </summary>
public sealed class ReferenceTests
{
    [Theory]
    [MemberData(nameof(GoldenNames.Scan), MemberType = typeof(GoldenNames))]
    public void Scan_GivesGoldenResults(string name)
    {
        GoldenCase golden = GoldenCase.Load(name);
        golden.CheckReference(Results(ReferenceScan.Forward(GoldenScan.Scan(golden, 16))));
    }

    [Theory]
    [MemberData(nameof(GoldenNames.ScanBackward), MemberType = typeof(GoldenNames))]
    public void ScanBackward_GivesGoldenResults(string name)
    {
        GoldenCase golden = GoldenCase.Load(name);
        golden.CheckReference(Gradients(ReferenceScan.Backward(GoldenScan.Scan(golden, 16), GoldenScan.Upstream(golden))));
    }

    [Theory]
    [MemberData(nameof(GoldenNames.ScanFrozen), MemberType = typeof(GoldenNames))]
    public void ScanFrozen_GivesGoldenResults(string name)
    {
        GoldenCase golden = GoldenCase.Load(name);
        golden.CheckReference(Results(ReferenceScan.Forward(GoldenScan.Frozen(golden))));
    }

    [Theory]
    [MemberData(nameof(GoldenNames.ScanFrozenBackward), MemberType = typeof(GoldenNames))]
    public void ScanFrozenBackward_GivesGoldenResults(string name)
    {
        GoldenCase golden = GoldenCase.Load(name);
        golden.CheckReference(Gradients(ReferenceScan.Backward(GoldenScan.Frozen(golden), GoldenScan.Upstream(golden))));
    }

    [Theory]
    [MemberData(nameof(GoldenNames.SelfModifying), MemberType = typeof(GoldenNames))]
    public void SelfModifying_GivesGoldenResults(string name)
    {
        GoldenCase golden = GoldenCase.Load(name);
        golden.HasResults("o", "s_alpha", "s_eta", "s_k", "s_mem", "s_v");
        SelfModifyingCase c = GoldenScan.SelfModifying(golden);
        SelfModifyingResult result = ReferenceSelfModifying.Forward(c);
        golden.CheckReference(output =>
        {
            if (output == "o")
                return result.O;
            (_, int start, int width) = GoldenScan.StateColumns(c.Dim).Single(m => m.Name == output);
            return GoldenScan.Columns(result.S, c.Columns, start, width);
        });
    }

    [Theory]
    [MemberData(nameof(GoldenNames.SelfModifyingMemories), MemberType = typeof(GoldenNames))]
    public void SelfModifyingMemories_GiveGoldenResults(string name)
    {
        GoldenCase golden = GoldenCase.Load(name);
        SelfModifyingResult result = ReferenceSelfModifying.Forward(GoldenScan.SelfModifyingMemories(golden));
        golden.CheckReference(output => output switch { "o" => result.O, "s" => result.S, "chunk_start" => result.ChunkStart, _ => [] });
    }

    [Theory]
    [MemberData(nameof(GoldenNames.SelfModifyingMemoriesBackward), MemberType = typeof(GoldenNames))]
    public void SelfModifyingMemoriesBackward_GivesGoldenResults(string name)
    {
        GoldenCase golden = GoldenCase.Load(name);
        SelfModifyingInputGradients g = ReferenceSelfModifying.Backward(
            GoldenScan.SelfModifyingMemories(golden), golden.Optional("do")!, golden.Optional("ds"), golden.Optional("dchunk_start"));
        golden.CheckReference(output => output switch { "dx" => g.X, "dq" => g.Q, "ds0" => g.S0, "dchunk_start" => g.ChunkStart, _ => [] });
    }

    [Theory]
    [InlineData(ScanWrite.Given, ScanRead.After)]
    [InlineData(ScanWrite.Given, ScanRead.Before)]
    [InlineData(ScanWrite.Scaled, ScanRead.After)]
    [InlineData(ScanWrite.Scaled, ScanRead.Before)]
    [InlineData(ScanWrite.FrozenL2, ScanRead.After)]
    [InlineData(ScanWrite.FrozenL2, ScanRead.Before)]
    [InlineData(ScanWrite.FrozenL2, ScanRead.Before, 2)]
    [InlineData(ScanWrite.FrozenL2, ScanRead.ChunkStart)]
    [InlineData(ScanWrite.FrozenL2, ScanRead.ChunkStart, 1)]
    [InlineData(ScanWrite.Scaled, ScanRead.ChunkStart, 2)]
    public void ScanBackward_MatchesFiniteDifferences(ScanWrite write, ScanRead read, int phase = 0)
    {
        ScanCase c = ScanCase.Create(11, [2, 7, 2, 3, 4], new ScanSettings(0.7f, read, write, 3) { Phase = phase }, "aem");
        var data = new TestData(12);
        var upstream = new ScanUpstream(
            Compare.ToDouble(data.Normal(c.ValueShape)), Compare.ToDouble(data.Normal(c.StateShape)),
            Compare.ToDouble(data.Normal(c.StateShape)),
            Compare.ToDouble(data.Normal(c.StateShape)));
        ScanInputGradients g = ReferenceScan.Backward(c, upstream);
        Check("dq", c.Q, g.Q);
        Check("dk", c.K, g.K);
        Check("du", c.U, g.U);
        Check("dlog_alpha", c.LogAlpha!, g.LogAlpha);
        Check("derase", c.Erase!, g.Erase);
        Check("dmu", c.Mu!, g.Mu);
        Check("ds0", c.S0!, g.S0);
        Check("dp0", c.P0!, g.P0);
        if (write != ScanWrite.Given)
            Check("dtheta", c.Theta!, g.Theta);
        if (phase > 0)
            Check("dchunk_start", c.ChunkStart!, g.ChunkStart);

        void Check(string name, double[] input, double[] gradient) =>
            Compare.Close(name, gradient, FiniteDifferences.Gradient(Loss, input), Tolerances.FiniteDifference);

        double Loss()
        {
            ScanResult r = ReferenceScan.Forward(c);
            return FiniteDifferences.Dot(r.O, upstream.O) + FiniteDifferences.Dot(r.S, upstream.S) + FiniteDifferences.Dot(r.P, upstream.P)
                + FiniteDifferences.Dot(r.ChunkStart, upstream.ChunkStart);
        }
    }

    [Theory]
    [InlineData(MemoryObjective.L2, ScanRead.Before, false)]
    [InlineData(MemoryObjective.L2, ScanRead.After, false)]
    [InlineData(MemoryObjective.L2, ScanRead.Before, true)]
    [InlineData(MemoryObjective.DotProduct, ScanRead.Before, false)]
    [InlineData(MemoryObjective.DotProduct, ScanRead.After, false)]
    [InlineData(MemoryObjective.DotProduct, ScanRead.After, true)]
    [InlineData(MemoryObjective.L2, ScanRead.Before, false, 1)]
    [InlineData(MemoryObjective.L2, ScanRead.After, true, 2, true)]
    [InlineData(MemoryObjective.L2, ScanRead.ChunkStart, false, 0)]
    [InlineData(MemoryObjective.L2, ScanRead.ChunkStart, false, 2, true)]
    [InlineData(MemoryObjective.DotProduct, ScanRead.ChunkStart, true, 1, true)]
    public void SelfModifyingBackward_MatchesFiniteDifferences(MemoryObjective objective, ScanRead read, bool normalizeValues,
        int phase = 0, bool exact = false)
    {
        var settings = new SelfModifyingSettings(3, objective, read, 0.5f, -0.5f, 1.5f, normalizeValues)
        {
            Phase = phase, ExactGradient = exact,
        };
        SelfModifyingCase c = SelfModifyingCase.Create(17 + (ulong)phase, [2, 7, 2, 3], settings);
        var data = new TestData(14);
        double[] dOutput = Compare.ToDouble(data.Normal(c.InputShape)), dState = Compare.ToDouble(data.Normal(c.StateShape));
        double[] dChunkStart = Compare.ToDouble(data.Normal(c.StateShape));
        SelfModifyingInputGradients g = ReferenceSelfModifying.Backward(c, dOutput, dState, dChunkStart);
        Check("dx", c.X, g.X);
        Check("dq", c.Q, g.Q);
        Check("ds0", c.S0, g.S0);
        if (phase > 0)
            Check("dchunk_start", c.ChunkStart!, g.ChunkStart);

        void Check(string name, double[] input, double[] gradient) =>
            Compare.Close(name, gradient, FiniteDifferences.Gradient(Loss, input), Tolerances.FiniteDifference);

        double Loss()
        {
            SelfModifyingResult r = ReferenceSelfModifying.Forward(c);
            return FiniteDifferences.Dot(r.O, dOutput) + FiniteDifferences.Dot(r.S, dState)
                + FiniteDifferences.Dot(r.ChunkStart, dChunkStart);
        }
    }

    [Fact]
    public void FiniteDifferences_GiveAKnownGradient()
    {
        double[] x = [0.3, -1.2];
        double[] gradient = FiniteDifferences.Gradient(() => Math.Sin(x[0]) * Math.Exp(x[1]), x);
        Compare.Close("gradient", gradient, [Math.Cos(0.3) * Math.Exp(-1.2), Math.Sin(0.3) * Math.Exp(-1.2)], 1e-11);
        Assert.Equal([0.3, -1.2], x);
    }

    [Fact]
    public void RelativeError_IsThatOfTheWorstElementAgainstTheLargest()
    {
        Assert.Equal(0.5 / 4, Compare.RelativeError([1.5f, -4f], (double[])[1, -4]), 1e-12);
        Assert.Equal(1e-4 / Compare.Floor, Compare.RelativeError([1e-4f], (double[])[0]), 1e-6);
        Assert.Equal(double.PositiveInfinity, Compare.RelativeError([1f, float.NaN], (double[])[1, 2]));
        Assert.Equal(double.PositiveInfinity, Compare.RelativeError([1f, 2f], (double[])[1, double.NaN]));
        Assert.ThrowsAny<Exception>(() => Compare.Close("x", (double[])[1, double.NaN], [1, 2], 1));
        Assert.ThrowsAny<Exception>(() => Compare.SameBits("x", [0f], [-0f]));
    }

    private static Func<string, double[]> Results(ScanResult result) =>
        output => output switch { "o" => result.O, "s" => result.S, "p" => result.P, "chunk_start" => result.ChunkStart, _ => [] };

    private static Func<string, double[]> Gradients(ScanInputGradients g) => output => output switch
    {
        "dq" => g.Q,
        "dk" => g.K,
        "du" or "dv" => g.U,
        "dlog_alpha" => g.LogAlpha,
        "derase" => g.Erase,
        "dmu" => g.Mu,
        "dtheta" => g.Theta,
        "ds0" => g.S0,
        "dp0" => g.P0,
        "dchunk_start" => g.ChunkStart,
        _ => [],
    };
}
