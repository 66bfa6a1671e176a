using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>The rules whose gradient is frozen at the chunk's start, so that the chunk is part of the meaning.</summary>
public abstract class ScanFrozenTests(string backend) : ScanSuite(backend)
{
    private static readonly string[] s_gates = ["", "a", "e", "ae", "m", "aem"];

    public static TheoryData<string, ScanRead, int> Cases()
    {
        var cases = new TheoryData<string, ScanRead, int>();
        foreach (string gates in s_gates)
        {
            for (int shape = 0; shape < Shapes.Length; shape++)
            {
                foreach (ScanRead read in Enum.GetValues<ScanRead>())
                    cases.Add(gates, read, shape);
            }
        }

        return cases;
    }

    /// <summary>Cases that start inside a chunk: after its first token, in its middle, before its last.</summary>
    public static TheoryData<string, ScanRead, ScanWrite, int, int> CasesInsideAChunk()
    {
        var cases = new TheoryData<string, ScanRead, ScanWrite, int, int>();
        foreach (string gates in (ReadOnlySpan<string>)["", "ae", "am", "aem"])
        {
            for (int shape = 0; shape < Shapes.Length; shape++)
            {
                int chunk = Shapes[shape].Chunk;
                foreach (int phase in ((int[])[1, chunk / 2, chunk - 1]).Where(p => p > 0 && p < chunk).Distinct())
                {
                    foreach (ScanRead read in Enum.GetValues<ScanRead>())
                        cases.Add(gates, read, ScanWrite.FrozenL2, shape, phase);
                    cases.Add(gates, ScanRead.ChunkStart, ScanWrite.Scaled, shape, phase);
                }
            }
        }

        return cases;
    }

    public static TheoryData<string, int> LongChunks() => new() { { "a", 128 }, { "aem", 128 } };

    [Theory]
    [MemberData(nameof(Cases))]
    public void Forward_MatchesReference(string gates, ScanRead read, int shape)
    {
        ScanCase c = Create(gates, read, shape);
        CheckForward(c, Forward(c), Tolerances.ScanFrozen.Forward);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Backward_MatchesReference(string gates, ScanRead read, int shape)
    {
        ScanCase c = Create(gates, read, shape);
        ScanUpstream upstream = Upstream(c);
        CheckBackward(c, upstream, Backward(c, upstream), Tolerances.ScanFrozen.Gradient);
    }

    [Theory]
    [MemberData(nameof(CasesInsideAChunk))]
    public void StartInsideAChunk_MatchesReference(string gates, ScanRead read, ScanWrite write, int shape, int phase)
    {
        var settings = new ScanSettings(0.6f, read, write, Shapes[shape].Chunk) { Phase = phase };
        ScanCase c = ScanCase.Create((ulong)shape + 170, new Shape(Shapes[shape].Shape), settings, gates);
        CheckForward(c, Forward(c), Tolerances.ScanFrozen.Forward);
        CheckForward(c, Forward(c, save: false), Tolerances.ScanFrozen.Forward);
        ScanUpstream upstream = Upstream(c);
        CheckBackward(c, upstream, Backward(c, upstream), Tolerances.ScanFrozen.Gradient);
    }

    [LargeTheory]
    [InlineData("", ScanRead.ChunkStart)]
    [InlineData("aem", ScanRead.Before)]
    [InlineData("ae", ScanRead.After)]
    public void AnySplit_GivesTheWholeSequencesResults(string gates, ScanRead read)
    {
        const int Time = 45;
        ScanCase c = ScanCase.Create(41, [2, Time, 2, 8, 12], new ScanSettings(0.5f, read, ScanWrite.FrozenL2, 8), gates);
        ScanResult expected = ReferenceScan.Forward(c);
        var random = new CounterRandom(42, 0);
        for (int trial = 0; trial < 6; trial++)
        {
            double[]? s = c.S0, p = c.P0, chunkStart = null;
            for (int start = 0, end; start < Time; start = end)
            {
                // The first trial feeds token by token.
                end = Math.Min(Time, start + 1 + (trial == 0 ? 0 : random.Below((ulong)(100 * trial + start), 13)));
                ScanCase part = c.Slice(start, end, s, p, chunkStart);
                ScanRun run = Forward(part, save: false, inPlace: true);
                Compare.Close("o", run.O, ScanCase.SliceTime(expected.O, 2, 24, start, end), Tolerances.ScanFrozen.Forward);
                s = Compare.ToDouble(run.S);
                p = run.P is null ? null : Compare.ToDouble(run.P);
                chunkStart = part.Settings.NextPhase(end - start) == 0 ? null : Compare.ToDouble(run.ChunkStart!);
            }

            Compare.Close("s", ToFloat(s!), expected.S, Tolerances.ScanFrozen.Forward);
        }
    }

    [LargeFact]
    public void DeltaGradientDescent_MatchesReference()
    {
        // ε = η = θ (NL 90, 93): two brackets with one learning rate.
        ScanCase c = ScanCase.Create(31, [2, 45, 2, 12, 12], new ScanSettings(1, ScanRead.Before, ScanWrite.FrozenL2, 8), "ae");
        c.Erase = c.Theta;
        CheckBoth(c, Tolerances.ScanFrozen);
    }

    [LargeFact]
    public void ChunkOfOne_IsTheExactRule()
    {
        // With C = 1 the frozen state is the running one: θ(v − k S) as Titans' exact online rule has it, ε = θ.
        ScanCase frozen = ScanCase.Create(32, [1, 30, 2, 8, 12], new ScanSettings(1, ScanRead.After, ScanWrite.FrozenL2, 1), "am");
        ScanCase exact = frozen.With(new ScanSettings(1, ScanRead.After, ScanWrite.Scaled, 16));
        exact.Erase = exact.Theta;
        ScanRun a = Forward(frozen), b = Forward(exact);
        Compare.Close("o", a.O, b.O, Tolerances.ScanFrozen.Forward);
        Compare.Close("s", a.S, b.S, Tolerances.ScanFrozen.Forward);
        Compare.Close("p", a.P, b.P, Tolerances.ScanFrozen.Forward);
    }

    [LargeFact]
    public void ChunkLength_IsPartOfTheMeaning()
    {
        ScanCase c = ScanCase.Create(33, [1, 48, 2, 8, 12], new ScanSettings(1, ScanRead.After, ScanWrite.FrozenL2, 8), "ae");
        ScanRun eight = Forward(c), sixteen = Forward(c.With(c.Settings with { Chunk = 16 }));
        Assert.True(Compare.RelativeError(eight.O, sixteen.O) > 1e-2);
    }

    [LargeTheory]
    [InlineData("a")]
    [InlineData("ae")]
    [InlineData("aem")]
    public void TotalDecay_MatchesReference(string gates)
    {
        ScanCase c = ScanCase.Create(34, [1, 33, 2, 8, 12], new ScanSettings(0.5f, ScanRead.After, ScanWrite.FrozenL2, 8), gates);
        foreach (int t in (ReadOnlySpan<int>)[0, 7, 8, 12, 13, 32])
            c.LogAlpha.AsSpan(t * 2, 2).Fill(double.NegativeInfinity);
        CheckBoth(c, Tolerances.ScanFrozen);
        Array.Fill(c.LogAlpha!, double.NegativeInfinity);
        CheckBoth(c, Tolerances.ScanFrozen);
    }

    [LargeTheory]
    [MemberData(nameof(LongChunks))]
    public void LongStrongDecay_MatchesReference(string gates, int chunk)
    {
        ScanCase c = ScanCase.Create(35, [1, 200, 1, 8, 8], new ScanSettings(1, ScanRead.After, ScanWrite.FrozenL2, chunk), gates);
        Array.Fill(c.LogAlpha!, -50);
        CheckBoth(c, Tolerances.ScanFrozen);
    }

    [LargeTheory]
    [InlineData("")]
    [InlineData("aem")]
    public void CarriedStates_ContinueASequenceAtAChunksStart(string gates)
    {
        ScanCase c = ScanCase.Create(36, [2, 45, 2, 8, 12], new ScanSettings(0.5f, ScanRead.Before, ScanWrite.FrozenL2, 8), gates);
        ScanResult expected = ReferenceScan.Forward(c);
        foreach (int split in (ReadOnlySpan<int>)[8, 24, 40])
        {
            ScanRun first = Forward(c.Slice(0, split, c.S0, c.P0), save: false);
            ScanRun second = Forward(
                c.Slice(split, 45, Compare.ToDouble(first.S), first.P is null ? null : Compare.ToDouble(first.P)), save: false);
            Compare.Close("o before", first.O, ScanCase.SliceTime(expected.O, 2, 24, 0, split), Tolerances.ScanFrozen.Forward);
            Compare.Close("o behind", second.O, ScanCase.SliceTime(expected.O, 2, 24, split, 45), Tolerances.ScanFrozen.Forward);
            Compare.Close("s", second.S, expected.S, Tolerances.ScanFrozen.Forward);
        }
    }

    [LargeTheory]
    [InlineData("")]
    [InlineData("aem")]
    public void FinalStates_MayTakeThePlaceOfInitialOnes(string gates)
    {
        foreach (int shape in (ReadOnlySpan<int>)[5, 10])
        {
            ScanCase c = Create(gates, ScanRead.After, shape);
            ScanRun apart = Forward(c), inPlace = Forward(c, inPlace: true);
            Compare.SameBits("o", inPlace.O, apart.O);
            Compare.SameBits("s", inPlace.S, apart.S);
            if (apart.P is not null)
                Compare.SameBits("p", inPlace.P, apart.P);
        }
    }

    [LargeTheory]
    [InlineData("dk")]
    [InlineData("du")]
    [InlineData("dtheta")]
    [InlineData("ds0")]
    public void UnwantedGradients_DoNotChangeOthers(string name)
    {
        ScanCase c = Create("aem", ScanRead.After, 5);
        ScanUpstream upstream = Upstream(c);
        CheckBackward(c, upstream, Backward(c, upstream, n => n == name), Tolerances.ScanFrozen.Gradient);
        CheckBackward(c, upstream, Backward(c, upstream, n => n != name), Tolerances.ScanFrozen.Gradient);
    }

    [LargeTheory]
    [InlineData("")]
    [InlineData("aem")]
    public void Threads_DoNotChangeBits(string gates)
    {
        ScanCase heads = ScanCase.Create(37, [2, 50, 5, 24, 40], new ScanSettings(1, ScanRead.After, ScanWrite.FrozenL2, 16), gates);
        ScanCase wide = ScanCase.Create(38, [1, 50, 1, 24, 200], new ScanSettings(1, ScanRead.After, ScanWrite.FrozenL2, 16), gates);
        SameBitsForAnyThreads(() => [.. Everything(heads), .. Everything(wide)]);
    }

    [Fact]
    public void NaNInATarget_ReachesWhatDependsOnIt_AndNothingElse()
    {
        const int Token = 10, Column = 5;
        ScanCase c = ScanCase.Create(39, [1, 21, 2, 8, 12], new ScanSettings(1, ScanRead.After, ScanWrite.FrozenL2, 8), "ae");
        ScanRun clean = Forward(c);
        c.U[(Token * 2 + 1) * 12 + Column] = double.NaN;
        ScanRun run = Forward(c);
        for (int i = 0; i < run.O.Length; i++)
        {
            if (i % 12 == Column && i / 12 % 2 == 1 && i / 24 >= Token)
                Assert.True(float.IsNaN(run.O[i]));
            else
                Assert.Equal(clean.O[i], run.O[i]);
        }
    }

    [LargeTheory]
    [MemberData(nameof(GoldenNames.ScanFrozen), MemberType = typeof(GoldenNames))]
    public void Forward_GivesGoldenResults(string name)
    {
        GoldenCase golden = GoldenCase.Load(name);
        ScanRun run = Forward(GoldenScan.Frozen(golden));
        foreach (string result in golden.Results)
            golden.Check(result, result switch { "o" => run.O, "s" => run.S, "p" => run.P, _ => run.ChunkStart });
    }

    [LargeTheory]
    [MemberData(nameof(GoldenNames.ScanFrozenBackward), MemberType = typeof(GoldenNames))]
    public void Backward_GivesGoldenResults(string name)
    {
        GoldenCase golden = GoldenCase.Load(name);
        ScanGradientRun run = Backward(GoldenScan.Frozen(golden), GoldenScan.Upstream(golden));
        foreach (string gradient in golden.Results)
            golden.Check(gradient, run[gradient == "dv" ? "du" : gradient]);
    }

    private static ScanCase Create(string gates, ScanRead read, int shape) =>
        ScanCase.Create((ulong)shape + 140, new Shape(Shapes[shape].Shape),
            new ScanSettings(0.6f, read, ScanWrite.FrozenL2, Shapes[shape].Chunk), gates);
}

public sealed class ManagedScanFrozenTests() : ScanFrozenTests("managed");

public sealed class CpuScanFrozenTests() : ScanFrozenTests("cpu");
