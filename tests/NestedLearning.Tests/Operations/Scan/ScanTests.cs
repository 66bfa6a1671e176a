using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>The scan of docs/specification.md, section 1 under every rule whose meaning does not depend on the chunk.</summary>
public abstract class ScanTests(string backend) : ScanSuite(backend)
{
    // The rules of docs/specification.md, section 1 by the gates they have: a (α), e (ε), m (μ); θ with Scaled.
    private static readonly (string Gates, ScanWrite Write)[] s_rules =
    [
        ("", ScanWrite.Given),        // linear attention
        ("a", ScanWrite.Given),       // retention
        ("e", ScanWrite.Given),       // delta rule
        ("ae", ScanWrite.Given),      // gated delta rule, DGD
        ("m", ScanWrite.Given),
        ("am", ScanWrite.Given),
        ("em", ScanWrite.Given),
        ("aem", ScanWrite.Given),
        ("a", ScanWrite.Scaled),      // DGD, dot product
        ("aem", ScanWrite.Scaled),    // Titans, exact online
    ];

    public static TheoryData<string, ScanWrite, ScanRead, int> Cases()
    {
        var cases = new TheoryData<string, ScanWrite, ScanRead, int>();
        foreach ((string gates, ScanWrite write) in s_rules)
        {
            for (int shape = 0; shape < Shapes.Length; shape++)
            {
                cases.Add(gates, write, ScanRead.After, shape);
                cases.Add(gates, write, ScanRead.Before, shape);
            }
        }

        return cases;
    }

    public static TheoryData<string, ScanWrite, ScanRead> Rules()
    {
        var cases = new TheoryData<string, ScanWrite, ScanRead>();
        foreach ((string gates, ScanWrite write) in s_rules)
        {
            cases.Add(gates, write, ScanRead.After);
            cases.Add(gates, write, ScanRead.Before);
        }

        return cases;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Forward_MatchesReference(string gates, ScanWrite write, ScanRead read, int shape)
    {
        ScanCase c = Create(gates, write, read, shape);
        CheckForward(c, Forward(c), Tolerances.Scan.Forward);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Backward_MatchesReference(string gates, ScanWrite write, ScanRead read, int shape)
    {
        ScanCase c = Create(gates, write, read, shape);
        ScanUpstream upstream = Upstream(c);
        CheckBackward(c, upstream, Backward(c, upstream), Tolerances.Scan.Gradient);
    }

    [LargeTheory]
    [MemberData(nameof(Rules))]
    public void Result_DoesNotDependOnChunkLength(string gates, ScanWrite write, ScanRead read)
    {
        ScanCase c = ScanCase.Create(5, [1, 70, 2, 12, 20], new ScanSettings(0.5f, read, write, 1), gates);
        foreach (int chunk in (ReadOnlySpan<int>)[1, 2, 7, 16, 64, 69, 70, 71, 256])
            CheckBoth(c.With(c.Settings with { Chunk = chunk }), Tolerances.Scan);
    }

    [Theory]
    [MemberData(nameof(Rules))]
    public void OneToken_MatchesReferenceAndTheGeneralPath(string gates, ScanWrite write, ScanRead read)
    {
        // Widths of less than a vector, of several and a rest, and of more than a block; with and without states.
        foreach ((int dk, int dv) in (ReadOnlySpan<(int, int)>)[(1, 1), (3, 17), (16, 8), (17, 40), (64, 64), (5, 131)])
        {
            ScanCase c = ScanCase.Create(8, [2, 1, 3, dk, dv], new ScanSettings(0.5f, read, write, ScanSettings.DefaultChunk), gates);
            ScanRun run = Forward(c, save: false), general = Forward(c, save: true), inPlace = Forward(c, save: false, inPlace: true);
            CheckForward(c, run, Tolerances.Scan.Forward);
            Compare.Close("o", run.O, general.O, Tolerances.Scan.Forward);
            Compare.Close("s", run.S, general.S, Tolerances.Scan.Forward);
            Compare.SameBits("o", inPlace.O, run.O);
            Compare.SameBits("s", inPlace.S, run.S);
            if (run.P is not null)
                Compare.SameBits("p", inPlace.P, run.P);
            ScanCase empty = ScanCase.Create(8, [2, 1, 3, dk, dv], c.Settings, gates, initial: false);
            CheckForward(empty, Forward(empty, save: false), Tolerances.Scan.Forward);
        }
    }

    [Fact]
    public void OneToken_WithNaN_StaysInItsHeadAndColumn()
    {
        ScanCase c = ScanCase.Create(9, [1, 1, 2, 8, 40], new ScanSettings(1, ScanRead.After, ScanWrite.Given, 8), "aem");
        ScanRun clean = Forward(c, save: false);
        c.U[40 + 35] = double.NaN;
        ScanRun run = Forward(c, save: false);
        for (int i = 0; i < run.O.Length; i++)
            Assert.Equal(i == 40 + 35 ? float.NaN : clean.O[i], run.O[i]);
        for (int i = 0; i < run.S.Length; i++)
            Assert.Equal(i >= 8 * 40 && i % 40 == 35 ? float.NaN : clean.S[i], run.S[i]);
    }

    [Theory]
    [MemberData(nameof(Rules))]
    public void AbsentInitialStates_AreZero(string gates, ScanWrite write, ScanRead read) =>
        CheckBoth(ScanCase.Create(6, [2, 21, 2, 8, 12], new ScanSettings(1, read, write, 8), gates, initial: false), Tolerances.Scan);

    [LargeTheory]
    [InlineData("", "a")]
    [InlineData("m", "am")]
    [InlineData("", "e")]
    [InlineData("am", "aem")]
    [InlineData("", "m")]
    [InlineData("ae", "aem")]
    public void AbsentGate_IsItsDefault(string without, string with)
    {
        // α = 1, ε = 0, μ = 0 given as numbers are what their absence means.
        var settings = new ScanSettings(0.5f, ScanRead.After, ScanWrite.Given, 8);
        ScanCase absent = ScanCase.Create(7, [1, 21, 2, 8, 12], settings, without),
            given = ScanCase.Create(7, [1, 21, 2, 8, 12], settings, with);
        if (absent.LogAlpha is null != given.LogAlpha is null)
            Array.Clear(given.LogAlpha!);
        if (absent.Erase is null != given.Erase is null)
            Array.Clear(given.Erase!);
        if (absent.Mu is null != given.Mu is null)
            (given.Mu, given.P0) = (new double[given.Mu!.Length], null);
        Assert.Equal(absent.Q, given.Q);
        ScanRun run = Forward(given);
        ScanResult expected = ReferenceScan.Forward(absent);
        Compare.Close("o", run.O, expected.O, Tolerances.Scan.Forward);
        Compare.Close("s", run.S, expected.S, Tolerances.Scan.Forward);
        ScanUpstream upstream = Upstream(absent);
        ScanGradientRun gradients = Backward(given, upstream), fewer = Backward(absent, upstream);
        foreach ((string name, float[] elements) in fewer.Named)
            Compare.Close(name, gradients[name], elements, Tolerances.Scan.Gradient);
        CheckBackward(given, upstream, gradients, Tolerances.Scan.Gradient);
    }

    [LargeTheory]
    [MemberData(nameof(Rules))]
    public void FinalStates_MayTakeThePlaceOfInitialOnes(string gates, ScanWrite write, ScanRead read)
    {
        foreach (int shape in (ReadOnlySpan<int>)[5, 10])
        {
            ScanCase c = Create(gates, write, read, shape);
            ScanRun apart = Forward(c), inPlace = Forward(c, inPlace: true);
            Compare.SameBits("o", inPlace.O, apart.O);
            Compare.SameBits("s", inPlace.S, apart.S);
            Compare.SameBits("states", inPlace.States, apart.States);
            if (apart.P is not null)
            {
                Compare.SameBits("p", inPlace.P, apart.P);
                Compare.SameBits("momenta", inPlace.Momenta, apart.Momenta);
            }
        }
    }

    [Theory]
    [InlineData(0, 2, 2)]
    [InlineData(2, 0, 2)]
    [InlineData(2, 2, 0)]
    public void EmptySequence_LeavesTheMemory(int batch, int time, int heads)
    {
        ScanCase c = ScanCase.Create(23, [batch, time, heads, 3, 5], new ScanSettings(1, ScanRead.After, ScanWrite.Given, 8), "aem");
        ScanRun run = Forward(c);
        Compare.SameBits("s", run.S, ToFloat(c.S0!));
        Compare.SameBits("p", run.P, ToFloat(c.P0!));
        ScanUpstream upstream = Upstream(c);
        ScanGradientRun g = Backward(c, upstream);
        Compare.SameBits("ds0", g["ds0"], ToFloat(upstream.S!));
        Compare.SameBits("dp0", g["dp0"], ToFloat(upstream.P!));
    }

    [LargeFact]
    public void SavingStates_DoesNotChangeResults()
    {
        ScanCase c = Create("aem", ScanWrite.Given, ScanRead.After, 5);
        ScanRun with = Forward(c), without = Forward(c, save: false);
        Compare.SameBits("o", without.O, with.O);
        Compare.SameBits("s", without.S, with.S);
        Compare.SameBits("p", without.P, with.P);
    }

    [LargeTheory]
    [InlineData("a", ScanRead.After)]
    [InlineData("ae", ScanRead.After)]
    [InlineData("aem", ScanRead.After)]
    [InlineData("aem", ScanRead.Before)]
    public void TotalDecay_MatchesReference(string gates, ScanRead read)
    {
        // At a chunk's first and last token, twice in a row, and in a last chunk of one.
        ScanCase c = ScanCase.Create(8, [1, 33, 2, 8, 12], new ScanSettings(0.5f, read, ScanWrite.Given, 8), gates);
        foreach (int t in (ReadOnlySpan<int>)[0, 7, 8, 12, 13, 32])
            SetLogAlpha(c, t, double.NegativeInfinity);
        CheckBoth(c, Tolerances.Scan);
        ScanGradientRun g = Backward(c, Upstream(c));
        for (int i = 0; i < c.LogAlpha!.Length; i++)
        {
            if (double.IsNegativeInfinity(c.LogAlpha[i]))
                Assert.Equal(0, g["dlog_alpha"][i]);
        }

        Array.Fill(c.LogAlpha, double.NegativeInfinity);
        CheckBoth(c, Tolerances.Scan);
    }

    [LargeTheory]
    [InlineData(ScanRead.After)]
    [InlineData(ScanRead.Before)]
    public void TotalDecay_LeavesNothingBehind(ScanRead read)
    {
        // Without ε and μ nothing before the decay can matter, not even by a rounding or an overflow. o of the token
        // itself still sees the old memory when it is read before the write.
        ScanCase c = ScanCase.Create(9, [1, 30, 2, 8, 12], new ScanSettings(1, read, ScanWrite.Given, 8), "a");
        const int Decayed = 11;
        SetLogAlpha(c, Decayed, double.NegativeInfinity);
        ScanRun first = Forward(c);
        for (int i = 0; i < c.S0!.Length; i++)
            c.S0[i] = 1e35 * (i % 3 - 1);
        ScanRun second = Forward(c);
        Compare.SameBits("s", second.S, first.S);
        int width = c.Heads * c.ValueDim, from = (Decayed + (read == ScanRead.After ? 0 : 1)) * width;
        Compare.SameBits("o", second.O.AsSpan(from), first.O.AsSpan(from));
        ScanUpstream upstream = Upstream(c);
        Assert.All(Backward(c, upstream)["ds0"], d => Assert.True(float.IsFinite(d)));
        ScanUpstream late = upstream with { O = [.. upstream.O!.Select((x, i) => i < from ? 0 : x)] };
        Assert.All(Backward(c, late)["ds0"], d => Assert.Equal(0, d));
    }

    [LargeTheory]
    [InlineData(-50f, "a")]
    [InlineData(-50f, "ae")]
    [InlineData(-50f, "aem")]
    [InlineData(-100f, "aem")]
    [InlineData(-1e30f, "aem")]
    [InlineData(float.MinValue, "ae")]
    public void LongStrongDecay_MatchesReference(float logAlpha, string gates)
    {
        ScanCase c = ScanCase.Create(10, [1, 260, 1, 8, 8], new ScanSettings(1, ScanRead.After, ScanWrite.Given, 256), gates);
        Array.Fill(c.LogAlpha!, logAlpha);
        CheckBoth(c, Tolerances.Scan);
        for (int i = 0; i < c.LogAlpha!.Length; i += 5)
            c.LogAlpha[i] = 0;
        CheckBoth(c, Tolerances.Scan);
    }

    [LargeFact]
    public void NoDecayOverALongChunk_MatchesReference()
    {
        ScanCase c = ScanCase.Create(10, [1, 260, 1, 8, 8], new ScanSettings(1, ScanRead.After, ScanWrite.Given, 256), "aem");
        Array.Clear(c.LogAlpha!);
        CheckBoth(c, Tolerances.Scan);
    }

    [LargeTheory]
    [InlineData("dq")]
    [InlineData("dk")]
    [InlineData("du")]
    [InlineData("dlog_alpha")]
    [InlineData("derase")]
    [InlineData("dmu")]
    [InlineData("dtheta")]
    [InlineData("ds0")]
    [InlineData("dp0")]
    public void UnwantedGradients_DoNotChangeOthers(string name)
    {
        ScanCase c = Create("aem", ScanWrite.Scaled, ScanRead.After, 5);
        ScanUpstream upstream = Upstream(c);
        ScanGradientRun only = Backward(c, upstream, n => n == name), others = Backward(c, upstream, n => n != name);
        Assert.Equal([name], only.Named.Keys);
        Assert.Equal(8, others.Named.Count);
        CheckBackward(c, upstream, only, Tolerances.Scan.Gradient);
        CheckBackward(c, upstream, others, Tolerances.Scan.Gradient);
    }

    [LargeTheory]
    [InlineData("aem", ScanRead.After)]
    [InlineData("aem", ScanRead.Before)]
    [InlineData("e", ScanRead.After)]
    public void AbsentUpstreamGradients_AreZero(string gates, ScanRead read)
    {
        ScanCase c = Create(gates, ScanWrite.Given, read, 5);
        ScanUpstream all = Upstream(c);
        foreach (ScanUpstream upstream in new[] { new(all.O, null, null), new(null, all.S, null), all with { O = null },
            new(null, null, all.P), new(null, null, null) })
        {
            ScanGradientRun run = Backward(c, upstream);
            CheckBackward(c, upstream, run, Tolerances.Scan.Gradient);
        }
    }

    [LargeTheory]
    [MemberData(nameof(Rules))]
    public void Threads_DoNotChangeBits(string gates, ScanWrite write, ScanRead read)
    {
        // Many heads, and one head with wide values: backends may cut these differently.
        ScanCase heads = ScanCase.Create(15, [2, 50, 5, 24, 40], new ScanSettings(1, read, write, 16), gates);
        ScanCase wide = ScanCase.Create(16, [1, 50, 1, 24, 200], new ScanSettings(1, read, write, 16), gates);
        SameBitsForAnyThreads(() => [.. Everything(heads), .. Everything(wide)]);
    }

    [Fact]
    public void Result_OfAHead_DoesNotDependOnOthers()
    {
        ScanCase c = ScanCase.Create(17, [2, 20, 3, 8, 12], new ScanSettings(1, ScanRead.After, ScanWrite.Given, 8), "aem");
        ScanRun run = Forward(c);
        for (int i = 0; i < c.U.Length; i++)
        {
            if (i / 12 % 3 != 1)
                c.U[i] *= 2;
        }

        ScanRun other = Forward(c);
        for (int row = 0; row < 2 * 20 * 3; row++)
        {
            if (row % 3 == 1)
                Compare.SameBits("o", other.O.AsSpan(row * 12, 12), run.O.AsSpan(row * 12, 12));
        }
    }

    [LargeTheory]
    [MemberData(nameof(Rules))]
    public void CarriedStates_ContinueASequence(string gates, ScanWrite write, ScanRead read)
    {
        ScanCase c = ScanCase.Create(18, [2, 45, 2, 8, 12], new ScanSettings(0.5f, read, write, 8), gates);
        ScanResult expected = ReferenceScan.Forward(c);
        foreach (int split in (ReadOnlySpan<int>)[1, 8, 19, 44])
        {
            ScanRun first = Forward(c.Slice(0, split, c.S0, c.P0), save: false);
            ScanRun second = Forward(
                c.Slice(split, 45, Compare.ToDouble(first.S), first.P is null ? null : Compare.ToDouble(first.P)), save: false);
            int width = c.Heads * c.ValueDim;
            Compare.Close("o before", first.O, ScanCase.SliceTime(expected.O, 2, width, 0, split), Tolerances.Scan.Forward);
            Compare.Close("o behind", second.O, ScanCase.SliceTime(expected.O, 2, width, split, 45), Tolerances.Scan.Forward);
            Compare.Close("s", second.S, expected.S, Tolerances.Scan.Forward);
            if (second.P is not null)
                Compare.Close("p", second.P, expected.P, Tolerances.Scan.Forward);
        }
    }

    [Theory]
    [InlineData("")]
    [InlineData("ae")]
    [InlineData("aem")]
    public void TokenByToken_EqualsTheWholeSequence(string gates)
    {
        ScanCase c = ScanCase.Create(19, [2, 20, 3, 8, 12], new ScanSettings(0.5f, ScanRead.After, ScanWrite.Given, 64), gates);
        ScanResult expected = ReferenceScan.Forward(c);
        double[]? s = c.S0, p = c.P0;
        for (int t = 0; t < c.Time; t++)
        {
            ScanRun run = Forward(c.Slice(t, t + 1, s, p), save: false);
            Compare.Close("o", run.O, ScanCase.SliceTime(expected.O, 2, 36, t, t + 1), Tolerances.Scan.Forward);
            (s, p) = (Compare.ToDouble(run.S), run.P is null ? null : Compare.ToDouble(run.P));
        }

        Compare.Close("s", ToFloat(s!), expected.S, Tolerances.Scan.Forward);
    }

    [Theory]
    [InlineData("", ScanRead.After)]
    [InlineData("aem", ScanRead.After)]
    [InlineData("aem", ScanRead.Before)]
    public void NaNInAWrite_ReachesWhatDependsOnIt_AndNothingElse(string gates, ScanRead read)
    {
        const int Time = 21, Heads = 3, Width = 12, Token = 10, Head = 1, Column = 5;
        ScanCase c = ScanCase.Create(20, [2, Time, Heads, 8, Width], new ScanSettings(1, read, ScanWrite.Given, 8), gates);
        ScanRun clean = Forward(c);
        c.U[((Time + Token) * Heads + Head) * Width + Column] = double.NaN;
        ScanRun run = Forward(c);
        for (int i = 0; i < run.O.Length; i++)
        {
            int column = i % Width, head = i / Width % Heads, t = i / Width / Heads % Time, batch = i / Width / Heads / Time;
            bool reached = batch == 1 && head == Head && column == Column && (t > Token || (t == Token && read == ScanRead.After));
            if (reached)
                Assert.True(float.IsNaN(run.O[i]), $"o[{batch}, {t}, {head}, {column}] is {run.O[i]}, expected NaN.");
            else
                Assert.Equal(clean.O[i], run.O[i]);
        }

        for (int i = 0; i < run.S.Length; i++)
        {
            if (i / (8 * Width) == Heads + Head && i % Width == Column)
                Assert.True(float.IsNaN(run.S[i]));
            else
                Assert.Equal(clean.S[i], run.S[i]);
        }
    }

    [LargeTheory]
    [InlineData("log_alpha")]
    [InlineData("erase")]
    [InlineData("mu")]
    [InlineData("k")]
    [InlineData("q")]
    public void NaNInAnInput_ReachesLaterTokensOfItsHead_AndNoOther(string input)
    {
        const int Time = 21, Heads = 3, Token = 10, Head = 1;
        ScanCase c = ScanCase.Create(21, [2, Time, Heads, 8, 12], new ScanSettings(1, ScanRead.After, ScanWrite.Given, 8), "aem");
        ScanRun clean = Forward(c);
        int gate = (Time + Token) * Heads + Head;
        (double[] target, int at) = input switch
        {
            "log_alpha" => (c.LogAlpha!, gate),
            "erase" => (c.Erase!, gate),
            "mu" => (c.Mu!, gate),
            "k" => (c.K, gate * 8 + 3),
            _ => (c.Q, gate * 8 + 3),
        };
        target[at] = double.NaN;
        ScanRun run = Forward(c);
        for (int i = 0; i < run.O.Length; i++)
        {
            int head = i / 12 % Heads, t = i / 12 / Heads % Time, batch = i / 12 / Heads / Time;
            if (batch == 1 && head == Head && (input == "q" ? t == Token : t >= Token))
                Assert.True(float.IsNaN(run.O[i]), $"o[{batch}, {t}, {head}] is {run.O[i]}, expected NaN.");
            else
                Assert.Equal(clean.O[i], run.O[i]);
        }

        for (int i = 0; i < run.S.Length; i++)
        {
            if (input != "q" && i / (8 * 12) == Heads + Head)
                Assert.True(float.IsNaN(run.S[i]));
            else
                Assert.Equal(clean.S[i], run.S[i]);
        }
    }

    [LargeFact]
    public void NaNInAnUpstreamGradient_ReachesItsHead_AndNoOther()
    {
        const int Time = 21, Heads = 3, Token = 10, Head = 1;
        ScanCase c = ScanCase.Create(22, [2, Time, Heads, 8, 12], new ScanSettings(1, ScanRead.After, ScanWrite.Given, 8), "aem");
        ScanUpstream upstream = Upstream(c);
        ScanGradientRun clean = Backward(c, upstream);
        upstream.O![((Time + Token) * Heads + Head) * 12 + 5] = double.NaN;
        ScanGradientRun run = Backward(c, upstream);
        foreach (string name in (ReadOnlySpan<string>)["dq", "dk", "du", "dlog_alpha", "derase", "dmu"])
        {
            int width = run[name].Length / (2 * Time * Heads);
            for (int i = 0; i < run[name].Length; i++)
            {
                int head = i / width % Heads, t = i / width / Heads % Time, batch = i / width / Heads / Time;
                if (batch != 1 || head != Head || t > Token)
                    Assert.Equal(clean[name][i], run[name][i]);
            }

            // Each of these has a part of token 10's own.
            if (name is not "du")
                Assert.True(float.IsNaN(run[name][((Time + Token) * Heads + Head) * width]), name);
        }

        Assert.True(float.IsNaN(run["du"][((Time + Token) * Heads + Head) * 12 + 5]));
        Assert.False(float.IsNaN(run["du"][((Time + Token) * Heads + Head) * 12 + 4]));
        foreach (string name in (ReadOnlySpan<string>)["ds0", "dp0"])
        {
            for (int i = 0; i < run[name].Length; i++)
            {
                if (i / (8 * 12) == Heads + Head && i % 12 == 5)
                    Assert.True(float.IsNaN(run[name][i]));
                else
                    Assert.Equal(clean[name][i], run[name][i]);
            }
        }
    }

    [LargeTheory]
    [MemberData(nameof(GoldenNames.Scan), MemberType = typeof(GoldenNames))]
    public void Forward_GivesGoldenResults(string name)
    {
        GoldenCase golden = GoldenCase.Load(name);
        foreach (int chunk in (ReadOnlySpan<int>)[ScanSettings.DefaultChunk, 16])
        {
            ScanRun run = Forward(GoldenScan.Scan(golden, chunk));
            golden.HasResults(run.P is null ? ["o", "s"] : ["o", "p", "s"]);
            golden.Check("o", run.O);
            golden.Check("s", run.S);
            if (run.P is not null)
                golden.Check("p", run.P);
        }
    }

    [LargeTheory]
    [MemberData(nameof(GoldenNames.ScanBackward), MemberType = typeof(GoldenNames))]
    public void Backward_GivesGoldenResults(string name)
    {
        GoldenCase golden = GoldenCase.Load(name);
        foreach (int chunk in (ReadOnlySpan<int>)[ScanSettings.DefaultChunk, 16])
        {
            ScanCase c = GoldenScan.Scan(golden, chunk);
            ScanGradientRun run = Backward(c, GoldenScan.Upstream(golden));
            // The suite asks for the gradients of a start that is zero too.
            golden.HasResults([.. run.Named.Keys.Where(k => k switch { "ds0" => c.S0 is not null, "dp0" => c.P0 is not null, _ => true })]);
            foreach (string gradient in golden.Results)
                golden.Check(gradient, run[gradient]);
        }
    }

    private static ScanCase Create(string gates, ScanWrite write, ScanRead read, int shape) =>
        ScanCase.Create((ulong)shape, new Shape(Shapes[shape].Shape), new ScanSettings(0.6f, read, write, Shapes[shape].Chunk), gates);

    private static void SetLogAlpha(ScanCase c, int t, double value)
    {
        for (int batch = 0; batch < c.Batch; batch++)
            c.LogAlpha.AsSpan((batch * c.Time + t) * c.Heads, c.Heads).Fill(value);
    }
}

/// <summary>What decoding costs in host memory, which only backends on the host can avoid.</summary>
public abstract class ScanAllocationTests(string backend) : ScanSuite(backend)
{
    [Theory]
    [InlineData("e")]
    [InlineData("aem")]
    public void OneToken_InPlace_DoesNotAllocate(string gates)
    {
        ScanCase c = ScanCase.Create(10, [1, 1, 8, 64, 64],
            new ScanSettings(0.125f, ScanRead.After, ScanWrite.Scaled, ScanSettings.DefaultChunk), gates);
        ScanInputs inputs = Inputs(c);
        var outputs = new ScanOutputs { O = Unwritten(c.ValueShape), S = inputs.S0!, P = inputs.P0 };
        // Waking other threads takes a job; the native kernel is too quick for that, whatever the setting.
        if (Device.Name == "managed")
            Device.Threads = 1;
        // The runtime may allocate while it compiles; a round without anything shows that calls do not.
        long least = long.MaxValue;
        for (int round = 0; round < 10 && least > 0; round++)
        {
            long before = GC.GetAllocatedBytesForCurrentThread();
            for (int i = 0; i < 100; i++)
                Scan.Forward(inputs, c.Settings, outputs);
            least = Math.Min(least, GC.GetAllocatedBytesForCurrentThread() - before);
        }

        Assert.Equal(0, least);
    }
}

public sealed class ManagedScanAllocationTests() : ScanAllocationTests("managed");

public sealed class CpuScanAllocationTests() : ScanAllocationTests("cpu");

public sealed class ManagedScanTests() : ScanTests("managed");

public sealed class CpuScanTests() : ScanTests("cpu");
