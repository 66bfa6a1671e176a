using NestedLearning.Testing;
using NestedLearning.Tests;
using Xunit;

namespace NestedLearning.Gpu.Tests;

/// <summary>
/// Few tokens at once, which have kernels of their own: launches, every rule against the reference, streams in any pieces.
/// </summary>
public abstract class DecodeTests(string backend) : ScanSuite(backend)
{
    private long Launches => ((IlgpuBackend)Backend).Launches;

    [Theory]
    [InlineData("", ScanRead.After, ScanWrite.Given, 0)]
    [InlineData("aem", ScanRead.Before, ScanWrite.Scaled, 0)]
    [InlineData("aem", ScanRead.ChunkStart, ScanWrite.FrozenL2, 3)]
    public void OneToken_IsOneLaunch(string gates, ScanRead read, ScanWrite write, int phase)
    {
        ScanCase c = ScanCase.Create(1, [2, 1, 3, 12, 40], new ScanSettings(0.5f, read, write, 8) { Phase = phase }, gates);
        Assert.Equal(1, LaunchesOf(c));
    }

    [Theory]
    [InlineData(8, true)]
    [InlineData(9, false)]
    public void AFewTokens_AreOneLaunch_MoreAreNot(int time, bool one)
    {
        ScanCase c = ScanCase.Create(2, [1, time, 2, 5, 20], new ScanSettings(0.5f, ScanRead.After, ScanWrite.Given, 64), "ae");
        Assert.Equal(one, LaunchesOf(c) == 1);
    }

    // Chunks of which several, one or a part fall among the tokens; states wider than a tile.
    [Theory]
    [MemberData(nameof(Rules))]
    public void FewTokens_MatchReference(string gates, ScanRead read, ScanWrite write)
    {
        (int Chunk, int Phase)[] chunks = write == ScanWrite.FrozenL2
            || read == ScanRead.ChunkStart ? [(1, 0), (3, 0), (3, 2), (5, 1), (64, 0), (64, 60)] : [(64, 0)];
        foreach ((int chunk, int phase) in chunks)
        {
            foreach ((int dk, int dv) in Small<(int Dk, int Dv)>([(1, 1), (3, 17), (17, 3), (40, 24)], d => d.Dk * d.Dv))
            {
                foreach (int time in (ReadOnlySpan<int>)[1, 2, 7, 8])
                {
                    ScanCase c = ScanCase.Create((ulong)(dk + time), [2, time, 2, dk, dv],
                        new ScanSettings(0.5f, read, write, chunk) { Phase = phase }, gates, initial: time != 2);
                    CheckForward(c, Forward(c, save: false), Tolerances.Scan.Forward);
                    if (c.S0 is not null)
                        CheckForward(c, Forward(c, save: false, inPlace: true), Tolerances.Scan.Forward);
                }
            }
        }
    }

    public static TheoryData<string, ScanRead, ScanWrite> Rules()
    {
        var rules = new TheoryData<string, ScanRead, ScanWrite>();
        foreach (string gates in (ReadOnlySpan<string>)["", "a", "e", "m", "aem"])
        {
            foreach (ScanWrite write in Enum.GetValues<ScanWrite>())
            {
                foreach (ScanRead read in Enum.GetValues<ScanRead>().Where(r => r != ScanRead.ChunkStart || write != ScanWrite.Given))
                    rules.Add(gates, read, write);
            }
        }

        return rules;
    }

    // More rows than shared memory holds: 512 of 8 columns, or 256 with momentum.
    [Theory]
    [InlineData("ae", 511)]
    [InlineData("ae", 600)]
    [InlineData("aem", 257)]
    [InlineData("aem", 300)]
    public void LongKeys_MatchReference(string gates, int keyDim)
    {
        foreach (bool inPlace in (ReadOnlySpan<bool>)[false, true])
        {
            ScanCase c = ScanCase.Create(3, [1, 4, 2, keyDim, 19],
                new ScanSettings(0.5f, ScanRead.ChunkStart, ScanWrite.FrozenL2, 3) { Phase = 2 }, gates);
            CheckForward(c, Forward(c, save: false, inPlace), Tolerances.Scan.Forward);
        }
    }

    [LargeTheory]
    [InlineData("ae", ScanRead.After, ScanWrite.Given)]
    [InlineData("aem", ScanRead.Before, ScanWrite.FrozenL2)]
    [InlineData("am", ScanRead.ChunkStart, ScanWrite.FrozenL2)]
    public void AStreamInSmallPieces_IsTheWholeSequence(string gates, ScanRead read, ScanWrite write)
    {
        const int Time = 41;
        ScanCase c = ScanCase.Create(4, [2, Time, 2, 12, 20], new ScanSettings(0.5f, read, write, 8), gates);
        ScanRun whole = Forward(c);
        foreach (int tokens in (ReadOnlySpan<int>)[1, 3, 8])
        {
            double[]? s = c.S0, p = c.P0, chunkStart = null;
            for (int start = 0; start < Time; start += tokens)
            {
                int end = Math.Min(Time, start + tokens);
                ScanCase part = c.Slice(start, end, s, p, chunkStart);
                ScanRun run = Forward(part, save: false, inPlace: true);
                Compare.Close("o", run.O, ScanCase.SliceTime(whole.O, 2, 40, start, end), Tolerances.Scan.Forward);
                (s, p) = (Compare.ToDouble(run.S), run.P is null ? null : Compare.ToDouble(run.P));
                chunkStart = run.ChunkStart is null || part.Settings.NextPhase(end - start) == 0 ? null : Compare.ToDouble(run.ChunkStart);
            }

            Compare.Close("s", ToFloat(s!), whole.S, Tolerances.Scan.Forward);
        }
    }

    // What shares a launch with a head.
    [Fact]
    public void OtherHeads_DoNotChangeBits()
    {
        var settings = new ScanSettings(0.5f, ScanRead.After, ScanWrite.Given, 64);
        ScanCase c = ScanCase.Create(5, [3, 2, 1, 20, 33], settings, "aem");
        ScanRun all = Forward(c, save: false);
        for (int b = 0; b < 3; b++)
        {
            ScanCase one = new()
            {
                Batch = 1, Time = 2, Heads = 1, KeyDim = 20, ValueDim = 33, Settings = settings, Q = Part(c.Q), K = Part(c.K),
                U = Part(c.U), LogAlpha = Part(c.LogAlpha!),
                Erase = Part(c.Erase!), Mu = Part(c.Mu!), S0 = Part(c.S0!), P0 = Part(c.P0!),
            };
            ScanRun run = Forward(one, save: false);
            Compare.SameBits("o", run.O, Part(all.O));
            Compare.SameBits("s", run.S, Part(all.S));
            Compare.SameBits("p", run.P!, Part(all.P!));

            T[] Part<T>(T[] whole) => whole[(b * whole.Length / 3)..((b + 1) * whole.Length / 3)];
        }
    }

    [Theory]
    [MemberData(nameof(SelfModifyingRules))]
    public void SelfModifyingTokens_MatchReference_InTwoLaunchesAChunk(MemoryObjective objective, ScanRead read, bool exact, bool normalize)
    {
        foreach ((int chunk, int phase) in (ReadOnlySpan<(int, int)>)[(1, 0), (3, 2), (8, 0), (8, 3), (8, 7)])
        {
            foreach (int dim in Small([1, 5, 24], d => d * d))
            {
                foreach (int time in (ReadOnlySpan<int>)[1, 5, 8])
                {
                    var settings = new SelfModifyingSettings(chunk, objective, read, 0.3f, -1, 3, normalize)
                    {
                        Phase = phase, ExactGradient = exact,
                    };
                    SelfModifyingCase c = SelfModifyingCase.Create((ulong)(dim + time), [2, time, 2, dim], settings);
                    SelfModifyingResult expected = ReferenceSelfModifying.Forward(c);
                    foreach (bool inPlace in (ReadOnlySpan<bool>)[false, true])
                    {
                        (float[] o, float[] s, float[] chunkStart) = Forward(c, inPlace);
                        Compare.Close("o", o, expected.O, Tolerances.SelfModifying.Forward);
                        Compare.Close("s", s, expected.S, Tolerances.SelfModifying.Forward);
                        Compare.Close("chunk start", chunkStart, expected.ChunkStart, Tolerances.SelfModifying.Forward);
                    }
                }
            }
        }
    }

    public static TheoryData<MemoryObjective, ScanRead, bool, bool> SelfModifyingRules()
    {
        var rules = new TheoryData<MemoryObjective, ScanRead, bool, bool>();
        foreach (ScanRead read in Enum.GetValues<ScanRead>())
        {
            rules.Add(MemoryObjective.L2, read, false, false);
            rules.Add(MemoryObjective.L2, read, true, true);
            rules.Add(MemoryObjective.DotProduct, read, false, true);
        }

        return rules;
    }

    [LargeTheory]
    [InlineData(ScanRead.Before)]
    [InlineData(ScanRead.ChunkStart)]
    public void ASelfModifyingStreamInSmallPieces_IsTheWholeSequence(ScanRead read)
    {
        const int Time = 29;
        var settings = new SelfModifyingSettings(8, MemoryObjective.L2, read, 0.3f, -1, 3);
        SelfModifyingCase c = SelfModifyingCase.Create(6, [2, Time, 2, 12], settings);
        (float[] o, float[] s, float[] chunkStart) whole = Forward(c, inPlace: false);
        foreach (int tokens in (ReadOnlySpan<int>)[1, 3, 8])
        {
            double[] s = c.S0;
            double[]? chunkStart = null;
            for (int start = 0; start < Time; start += tokens)
            {
                int end = Math.Min(Time, start + tokens);
                SelfModifyingCase part = c.Slice(start, end, s, chunkStart);
                (float[] o, float[] state, float[] next) = Forward(part, inPlace: true);
                Compare.Close("o", o, ScanCase.SliceTime(whole.o, 2, 24, start, end), Tolerances.SelfModifying.Forward);
                s = Compare.ToDouble(state);
                chunkStart = part.Settings.NextPhase(end - start) == 0 ? null : Compare.ToDouble(next);
            }

            Compare.Close("s", ToFloat(s), whole.s, Tolerances.SelfModifying.Forward);
        }
    }

    // With the states in place, and no more than the call itself: tensors of NaN are launches too.
    private long LaunchesOf(ScanCase c)
    {
        ScanInputs inputs = Inputs(c);
        var outputs = new ScanOutputs { O = Unwritten(c.ValueShape), S = inputs.S0!, P = inputs.P0, ChunkStart = inputs.ChunkStart };
        long before = Launches;
        Scan.Forward(inputs, c.Settings, outputs);
        return Launches - before;
    }

    // Without saved states. Few tokens must be two launches for each chunk that has some of them.
    private (float[] O, float[] S, float[] ChunkStart) Forward(SelfModifyingCase c, bool inPlace)
    {
        Tensor s0 = From(c.StateShape, ToFloat(c.S0));
        Tensor? chunkStart = Optional(c.StateShape, c.ChunkStart);
        var outputs = new SelfModifyingOutputs
        {
            O = Unwritten(c.InputShape), S = inPlace ? s0 : Unwritten(c.StateShape),
            ChunkStart = inPlace && chunkStart is not null ? chunkStart : Unwritten(c.StateShape),
        };
        long before = Launches;
        SelfModifying.Forward(new SelfModifyingInputs
        {
            X = From(c.InputShape, ToFloat(c.X)), Q = From(c.InputShape, ToFloat(c.Q)), S0 = s0,
            ChunkStart = chunkStart
        }, c.Settings, outputs);
        int time = c.InputShape[1];
        if (time <= 8)
            Assert.Equal(2 * c.Settings.Chunks(time), Launches - before);
        return (outputs.O.ToArray(), outputs.S.ToArray(), outputs.ChunkStart.ToArray());
    }
}

public sealed class OpenClDecodeTests() : DecodeTests("opencl");
