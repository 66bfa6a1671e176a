using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>The self-modifying scan of docs/specification.md, section 6, matrix memories.</summary>
public abstract class SelfModifyingTests(string backend) : BackendTests(backend)
{
    // [B, T, H, D] and a chunk length.
    private static readonly (int[] Shape, int Chunk)[] s_shapes =
    [
        ([1, 1, 1, 1], 8),
        ([1, 5, 2, 8], 1),
        ([1, 7, 1, 3], 8),
        ([1, 8, 1, 17], 8),
        ([1, 9, 2, 17], 8),
        ([2, 29, 3, 12], 8),
        ([1, 65, 1, 24], 32),
        ([1, 40, 1, 64], 16),
        ([2, 21, 2, 5], 4),
        ([3, 26, 4, 6], 13),
    ];

    private sealed record Run(float[] O, float[] S, float[] States, float[] ChunkStart);

    public static TheoryData<MemoryObjective, ScanRead, int> Cases()
    {
        var cases = new TheoryData<MemoryObjective, ScanRead, int>();
        foreach (MemoryObjective objective in Enum.GetValues<MemoryObjective>())
        {
            for (int shape = 0; shape < s_shapes.Length; shape++)
            {
                foreach (ScanRead read in Enum.GetValues<ScanRead>())
                    cases.Add(objective, read, shape);
            }
        }

        return cases;
    }

    /// <summary>Cases that start inside a chunk: after its first token, in its middle, before its last.</summary>
    public static TheoryData<MemoryObjective, ScanRead, bool, int, int> CasesInsideAChunk()
    {
        var cases = new TheoryData<MemoryObjective, ScanRead, bool, int, int>();
        for (int shape = 0; shape < s_shapes.Length; shape++)
        {
            int chunk = s_shapes[shape].Chunk;
            foreach (int phase in ((int[])[1, chunk / 2, chunk - 1]).Where(p => p > 0 && p < chunk).Distinct())
            {
                foreach (ScanRead read in Enum.GetValues<ScanRead>())
                {
                    cases.Add(MemoryObjective.L2, read, false, shape, phase);
                    cases.Add(MemoryObjective.L2, read, true, shape, phase);
                    cases.Add(MemoryObjective.DotProduct, read, false, shape, phase);
                }
            }
        }

        return cases;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Forward_MatchesReference(MemoryObjective objective, ScanRead read, int shape)
    {
        SelfModifyingCase c = Create(objective, read, shape);
        CheckForward(c, Forward(c));
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Backward_MatchesReference(MemoryObjective objective, ScanRead read, int shape) =>
        CheckBackward(Create(objective, read, shape));

    [Theory]
    [MemberData(nameof(Cases))]
    public void NormalizedValues_MatchReference(MemoryObjective objective, ScanRead read, int shape)
    {
        SelfModifyingCase c = SelfModifyingCase.Create(
            (ulong)shape + 90, new Shape(s_shapes[shape].Shape),
            Settings(objective, read, s_shapes[shape].Chunk) with { NormalizeValues = true });
        CheckForward(c, Forward(c));
        CheckBackward(c);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void ExactGradient_MatchesReference(MemoryObjective objective, ScanRead read, int shape)
    {
        SelfModifyingCase c = SelfModifyingCase.Create(
            (ulong)shape + 120, new Shape(s_shapes[shape].Shape),
            Settings(objective, read, s_shapes[shape].Chunk) with { ExactGradient = true });
        CheckForward(c, Forward(c));
        CheckBackward(c);
    }

    [Theory]
    [MemberData(nameof(CasesInsideAChunk))]
    public void StartInsideAChunk_MatchesReference(MemoryObjective objective, ScanRead read, bool exact, int shape, int phase)
    {
        SelfModifyingSettings settings = Settings(objective, read, s_shapes[shape].Chunk) with { Phase = phase, ExactGradient = exact };
        SelfModifyingCase c = SelfModifyingCase.Create((ulong)shape + 150, new Shape(s_shapes[shape].Shape), settings);
        CheckForward(c, Forward(c));
        CheckBackward(c);
    }

    [LargeFact]
    public void ExactGradient_OfChunksOfOne_IsTheFrozenOne()
    {
        SelfModifyingCase frozen = SelfModifyingCase.Create(61, [1, 20, 2, 8], Settings(MemoryObjective.L2, ScanRead.After, 1));
        SelfModifyingCase exact = SelfModifyingCase.Create(61, [1, 20, 2, 8], frozen.Settings with { ExactGradient = true });
        Compare.Close("o", Forward(exact).O, Forward(frozen).O, Tolerances.SelfModifying.Forward);
    }

    // Memories of three times their usual size outgrow every bound, unless their values have length one.
    [LargeTheory]
    [InlineData(false)]
    [InlineData(true)]
    public void LargeMemories_StayBounded_WithNormalizedValues(bool normalize)
    {
        var settings = new SelfModifyingSettings(8, MemoryObjective.L2, ScanRead.Before, EtaScale: 0.1f, EtaBias: 0, AlphaBias: 20,
            normalize);
        SelfModifyingCase small = SelfModifyingCase.Create(59, [1, 512, 1, 16], settings);
        SelfModifyingCase c = small.Slice(0, 512, Array.ConvertAll(small.S0, s => 3 * s));
        double largest = Array.ConvertAll(Forward(c).S, Math.Abs).Max();
        Assert.Equal(normalize, largest < 100 * c.S0.Max());
    }

    [LargeTheory]
    [InlineData(-200f, -1f, 0.1f)]  // α underflows: total decay
    [InlineData(200f, -1f, 0.1f)]   // α = 1
    [InlineData(2f, -200f, 0.1f)]   // η underflows: nothing is learned
    [InlineData(2f, 200f, 0.002f)]  // softplus in its linear part
    [InlineData(2f, -1f, 0f)]
    public void ExtremeGates_MatchReference(float alphaBias, float etaBias, float etaScale)
    {
        foreach (MemoryObjective objective in Enum.GetValues<MemoryObjective>())
        {
            var settings = new SelfModifyingSettings(8, objective, ScanRead.After, etaScale, etaBias, alphaBias);
            SelfModifyingCase c = SelfModifyingCase.Create(51, [1, 45, 2, 12], settings);
            CheckForward(c, Forward(c));
            CheckBackward(c);
        }
    }

    [Theory]
    [InlineData(MemoryObjective.L2)]
    [InlineData(MemoryObjective.DotProduct)]
    public void ZeroInput_MakesAZeroKey(MemoryObjective objective)
    {
        // A key of length 0: norm's ε stands between it and a division by zero, and its gradient is 1e6 times larger.
        SelfModifyingCase c = SelfModifyingCase.Create(52, [1, 20, 1, 12], Settings(objective, ScanRead.Before, 8));
        c.X.AsSpan(9 * 12, 12).Clear();
        CheckForward(c, Forward(c));
        CheckBackward(c);
        Array.Clear(c.X);
        CheckForward(c, Forward(c));
        CheckBackward(c);
    }

    [LargeTheory]
    [InlineData(MemoryObjective.L2, ScanRead.Before)]
    [InlineData(MemoryObjective.L2, ScanRead.After)]
    [InlineData(MemoryObjective.DotProduct, ScanRead.Before)]
    public void FinalState_MayTakeThePlaceOfTheInitialOne(MemoryObjective objective, ScanRead read)
    {
        SelfModifyingCase c = Create(objective, read, 5);
        Run apart = Forward(c), inPlace = Forward(c, inPlace: true);
        Compare.SameBits("o", inPlace.O, apart.O);
        Compare.SameBits("s", inPlace.S, apart.S);
        Compare.SameBits("states", inPlace.States, apart.States);
        c = SelfModifyingCase.Create(62, [2, 3, 2, 6], Settings(objective, read, 8) with { Phase = 2 });
        (apart, inPlace) = (Forward(c), Forward(c, inPlace: true));
        Compare.SameBits("s", inPlace.S, apart.S);
        Compare.SameBits("chunk start", inPlace.ChunkStart, apart.ChunkStart);
    }

    [Theory]
    [InlineData(0, 2, 2)]
    [InlineData(2, 0, 2)]
    [InlineData(2, 2, 0)]
    public void EmptySequence_LeavesTheMemory(int batch, int time, int heads)
    {
        SelfModifyingCase c = SelfModifyingCase.Create(59, [batch, time, heads, 3], Settings(MemoryObjective.L2, ScanRead.Before, 8));
        Compare.SameBits("s", Forward(c).S, ToFloat(c.S0));
        (double[] dOutput, double[] dState) = Upstream(c);
        Compare.SameBits("ds0", Backward(c, dOutput, dState)["ds0"], ToFloat(dState));
        c = SelfModifyingCase.Create(59, [batch, time, heads, 3], Settings(MemoryObjective.L2, ScanRead.Before, 8) with { Phase = 3 });
        if (time == 0)
        {
            Compare.SameBits("chunk start", Forward(c).ChunkStart, ToFloat(c.ChunkStart!));
            Compare.SameBits("dchunk_start", Backward(c, dOutput, dState, dChunkStart: dState)["dchunk_start"], ToFloat(dState));
        }
    }

    [LargeFact]
    public void SavingStates_DoesNotChangeResults()
    {
        SelfModifyingCase c = Create(MemoryObjective.L2, ScanRead.Before, 5);
        using Tensor o = Device.Full(c.InputShape, float.NaN), s = Device.Full(c.StateShape, float.NaN);
        SelfModifying.Forward(Inputs(c), c.Settings, new SelfModifyingOutputs { O = o, S = s });
        Run with = Forward(c);
        Compare.SameBits("o", o.ToArray(), with.O);
        Compare.SameBits("s", s.ToArray(), with.S);
    }

    [LargeTheory]
    [InlineData("dx")]
    [InlineData("dq")]
    [InlineData("ds0")]
    public void UnwantedGradients_DoNotChangeOthers(string name)
    {
        SelfModifyingCase c = Create(MemoryObjective.L2, ScanRead.Before, 5);
        CheckBackward(c, wanted: n => n == name);
        CheckBackward(c, wanted: n => n != name);
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void AbsentStateGradient_IsZero(MemoryObjective objective, ScanRead read, int shape) =>
        CheckBackward(Create(objective, read, shape), withState: false);

    [LargeTheory]
    [InlineData(MemoryObjective.L2, ScanRead.Before)]
    [InlineData(MemoryObjective.DotProduct, ScanRead.After)]
    public void Threads_DoNotChangeBits(MemoryObjective objective, ScanRead read)
    {
        SelfModifyingCase heads = SelfModifyingCase.Create(53, [2, 40, 3, 24], Settings(objective, read, 16));
        SelfModifyingCase wide = SelfModifyingCase.Create(54, [1, 40, 1, 64], Settings(objective, read, 16));
        SameBitsForAnyThreads(() => [.. Everything(heads), .. Everything(wide)]);
    }

    [LargeTheory]
    [InlineData(MemoryObjective.L2)]
    [InlineData(MemoryObjective.DotProduct)]
    public void CarriedState_ContinuesASequenceAtAChunksStart(MemoryObjective objective)
    {
        SelfModifyingCase c = SelfModifyingCase.Create(55, [2, 29, 2, 12], Settings(objective, ScanRead.Before, 8));
        SelfModifyingResult expected = ReferenceSelfModifying.Forward(c);
        foreach (int split in (ReadOnlySpan<int>)[8, 16, 24])
        {
            Run first = Forward(c.Slice(0, split, c.S0)), second = Forward(c.Slice(split, 29, Compare.ToDouble(first.S)));
            Compare.Close("o before", first.O, ScanCase.SliceTime(expected.O, 2, 24, 0, split), Tolerances.SelfModifying.Forward);
            Compare.Close("o behind", second.O, ScanCase.SliceTime(expected.O, 2, 24, split, 29), Tolerances.SelfModifying.Forward);
            Compare.Close("s", second.S, expected.S, Tolerances.SelfModifying.Forward);
        }
    }

    [LargeTheory]
    [InlineData(MemoryObjective.L2, ScanRead.Before, false)]
    [InlineData(MemoryObjective.L2, ScanRead.ChunkStart, true)]
    [InlineData(MemoryObjective.DotProduct, ScanRead.After, false)]
    public void AnySplit_GivesTheWholeSequencesResults(MemoryObjective objective, ScanRead read, bool exact)
    {
        const int Time = 53;
        SelfModifyingCase c = SelfModifyingCase.Create(63, [2, Time, 2, 12], Settings(objective, read, 8) with { ExactGradient = exact });
        SelfModifyingResult expected = ReferenceSelfModifying.Forward(c);
        var random = new CounterRandom(64, 0);
        for (int trial = 0; trial < 6; trial++)
        {
            double[] s = c.S0;
            double[]? chunkStart = null;
            for (int start = 0, end; start < Time; start = end)
            {
                // The first trial feeds token by token.
                end = Math.Min(Time, start + 1 + (trial == 0 ? 0 : random.Below((ulong)(100 * trial + start), 13)));
                SelfModifyingCase part = c.Slice(start, end, s, chunkStart);
                Run run = Forward(part);
                Compare.Close("o", run.O, ScanCase.SliceTime(expected.O, 2, 24, start, end), Tolerances.SelfModifying.Forward);
                s = Compare.ToDouble(run.S);
                chunkStart = part.Settings.NextPhase(end - start) == 0 ? null : Compare.ToDouble(run.ChunkStart);
            }

            Compare.Close("s", Array.ConvertAll(s, e => (float)e), expected.S, Tolerances.SelfModifying.Forward);
            Compare.Close("chunk start", Array.ConvertAll(chunkStart!, e => (float)e), expected.ChunkStart,
                Tolerances.SelfModifying.Forward);
        }
    }

    [LargeFact]
    public void ChunkLength_IsPartOfTheMeaning()
    {
        SelfModifyingCase c = SelfModifyingCase.Create(56, [1, 48, 1, 12], Settings(MemoryObjective.L2, ScanRead.Before, 8));
        SelfModifyingCase other = SelfModifyingCase.Create(56, [1, 48, 1, 12], Settings(MemoryObjective.L2, ScanRead.Before, 16));
        Assert.Equal(c.X, other.X);
        Assert.True(Compare.RelativeError(Forward(c).O, Forward(other).O) > 1e-2);
    }

    [Theory]
    [InlineData(ScanRead.Before)]
    [InlineData(ScanRead.After)]
    public void NaNInAnInput_ReachesLaterTokensOfItsHead_AndNoOther(ScanRead read)
    {
        const int Time = 21, Heads = 3, Token = 10, Head = 1, D = 6;
        SelfModifyingCase c = SelfModifyingCase.Create(57, [2, Time, Heads, D], Settings(MemoryObjective.L2, read, 8));
        Run clean = Forward(c);
        c.X[((Time + Token) * Heads + Head) * D + 3] = double.NaN;
        Run run = Forward(c);
        for (int i = 0; i < run.O.Length; i++)
        {
            int head = i / D % Heads, t = i / D / Heads % Time, batch = i / D / Heads / Time;
            bool reached = batch == 1 && head == Head && (t > Token || (t == Token && read == ScanRead.After));
            if (reached)
                Assert.True(float.IsNaN(run.O[i]), $"o[{batch}, {t}, {head}] is {run.O[i]}, expected NaN.");
            else
                Assert.Equal(clean.O[i], run.O[i]);
        }

        int state = D * c.Columns;
        for (int i = 0; i < run.S.Length; i++)
        {
            if (i / state == Heads + Head)
                Assert.True(float.IsNaN(run.S[i]));
            else
                Assert.Equal(clean.S[i], run.S[i]);
        }
    }

    [LargeFact]
    public void NaNInAnUpstreamGradient_ReachesItsHead_AndNoOther()
    {
        const int Time = 21, Heads = 3, Token = 10, Head = 1, D = 6;
        SelfModifyingCase c = SelfModifyingCase.Create(58, [2, Time, Heads, D], Settings(MemoryObjective.L2, ScanRead.Before, 8));
        (double[] dOutput, double[] dState) = Upstream(c);
        Dictionary<string, float[]> clean = Backward(c, dOutput, dState);
        dOutput[((Time + Token) * Heads + Head) * D + 2] = double.NaN;
        Dictionary<string, float[]> run = Backward(c, dOutput, dState);
        foreach (string name in (ReadOnlySpan<string>)["dx", "dq"])
        {
            for (int i = 0; i < run[name].Length; i++)
            {
                int head = i / D % Heads, t = i / D / Heads % Time, batch = i / D / Heads / Time;
                if (batch != 1 || head != Head || t > Token)
                    Assert.Equal(clean[name][i], run[name][i]);
            }
        }

        Assert.True(float.IsNaN(run["dq"][((Time + Token) * Heads + Head) * D]));
        Assert.True(float.IsNaN(run["dx"][(Time * Heads + Head) * D]));
        int state = D * c.Columns;
        for (int i = 0; i < run["ds0"].Length; i++)
        {
            if (i / state != Heads + Head)
                Assert.Equal(clean["ds0"][i], run["ds0"][i]);
        }

        Assert.True(float.IsNaN(run["ds0"][(Heads + Head) * state]));
    }

    [LargeTheory]
    [MemberData(nameof(GoldenNames.SelfModifying), MemberType = typeof(GoldenNames))]
    public void Forward_GivesGoldenResults(string name)
    {
        GoldenCase golden = GoldenCase.Load(name);
        golden.HasResults("o", "s_alpha", "s_eta", "s_k", "s_mem", "s_v");
        SelfModifyingCase c = GoldenScan.SelfModifying(golden);
        Run run = Forward(c);
        golden.Check("o", run.O);
        foreach ((string memory, int start, int width) in GoldenScan.StateColumns(c.Dim))
            golden.Check(memory, GoldenScan.Columns(run.S, c.Columns, start, width));
    }

    private static SelfModifyingSettings Settings(MemoryObjective objective, ScanRead read, int chunk) =>
        new(chunk, objective, read, EtaScale: 0.3f, EtaBias: -1, AlphaBias: 3);

    private static SelfModifyingCase Create(MemoryObjective objective, ScanRead read, int shape) =>
        SelfModifyingCase.Create((ulong)shape + 60, new Shape(s_shapes[shape].Shape), Settings(objective, read, s_shapes[shape].Chunk));

    private static float[] ToFloat(double[] elements) => Array.ConvertAll(elements, e => (float)e);

    private static (double[] Output, double[] State) Upstream(SelfModifyingCase c)
    {
        var data = new TestData(99);
        return (Compare.ToDouble(data.Normal(c.InputShape)), Compare.ToDouble(data.Normal(c.StateShape)));
    }

    private SelfModifyingInputs Inputs(SelfModifyingCase c) => new()
    {
        X = From(c.InputShape, ToFloat(c.X)),
        Q = From(c.InputShape, ToFloat(c.Q)),
        S0 = From(c.StateShape, ToFloat(c.S0)),
        ChunkStart = c.ChunkStart is null ? null : From(c.StateShape, ToFloat(c.ChunkStart)),
    };

    private Run Forward(SelfModifyingCase c, bool inPlace = false)
    {
        SelfModifyingInputs inputs = Inputs(c);
        var outputs = new SelfModifyingOutputs
        {
            O = Unwritten(c.InputShape),
            S = inPlace ? inputs.S0 : Unwritten(c.StateShape),
            ChunkStart = inPlace && inputs.ChunkStart is not null ? inputs.ChunkStart : Unwritten(c.StateShape),
            ChunkStates = Unwritten(c.SavedShape),
        };
        SelfModifying.Forward(inputs, c.Settings, outputs);
        return new Run(outputs.O.ToArray(), outputs.S.ToArray(), outputs.ChunkStates.ToArray(), outputs.ChunkStart.ToArray());
    }

    private Dictionary<string, float[]> Backward(SelfModifyingCase c, double[] dOutput, double[]? dState, Func<string, bool>? wanted = null,
        double[]? dChunkStart = null)
    {
        SelfModifyingInputs inputs = Inputs(c);
        Tensor states = Unwritten(c.SavedShape);
        SelfModifying.Forward(inputs, c.Settings, new SelfModifyingOutputs
        {
            O = Unwritten(c.InputShape),
            S = Unwritten(c.StateShape),
            ChunkStates = states,
        });
        var gradients = new SelfModifyingGradients
        {
            X = Want("dx", c.InputShape),
            Q = Want("dq", c.InputShape),
            S0 = Want("ds0", c.StateShape),
            ChunkStart = c.ChunkStart is null ? null : Want("dchunk_start", c.StateShape),
        };
        Tensor? Optional(double[]? state) => state is null ? null : From(c.StateShape, ToFloat(state));
        SelfModifying.Backward(
            inputs, c.Settings, states, new SelfModifyingOutputGradients(From(c.InputShape, ToFloat(dOutput)), Optional(dState),
                Optional(dChunkStart)), gradients);
        var run = new Dictionary<string, float[]>();
        foreach ((string name, Tensor? tensor) in new[] { ("dx", gradients.X), ("dq", gradients.Q), ("ds0", gradients.S0),
            ("dchunk_start", gradients.ChunkStart) })
        {
            if (tensor is not null)
                run.Add(name, tensor.ToArray());
        }

        return run;

        Tensor? Want(string name, Shape shape) => wanted is null || wanted(name) ? Unwritten(shape) : null;
    }

    private static void CheckForward(SelfModifyingCase c, Run run)
    {
        SelfModifyingResult expected = ReferenceSelfModifying.Forward(c);
        Compare.Close("o", run.O, expected.O, Tolerances.SelfModifying.Forward);
        int state = c.Dim * c.Columns, chunks = c.Settings.Chunks(c.Time);
        for (int head = 0; head < c.Batch * c.Heads; head++)
        {
            Compare.SameBits("states at the start", run.States.AsSpan(head * chunks * state, state),
                ToFloat(c.S0).AsSpan(head * state, state));
        }

        Compare.Close("states", run.States, expected.States, Tolerances.SelfModifying.Forward);
        Compare.Close("chunk start", run.ChunkStart, expected.ChunkStart, Tolerances.SelfModifying.Forward);

        // Each memory by itself: the one column of η or α would vanish beside the others.
        foreach ((string memory, int start, int width) in GoldenScan.StateColumns(c.Dim))
        {
            Compare.Close(
                memory, GoldenScan.Columns(run.S, c.Columns, start, width), GoldenScan.Columns(expected.S, c.Columns, start, width),
                Tolerances.SelfModifying.Forward);
        }
    }

    private void CheckBackward(SelfModifyingCase c, bool withState = true, Func<string, bool>? wanted = null)
    {
        (double[] dOutput, double[]? dState) = Upstream(c);
        if (!withState)
            dState = null;
        double[]? dChunkStart = withState ? Compare.ToDouble(new TestData(98).Normal(c.StateShape)) : null;
        Dictionary<string, float[]> run = Backward(c, dOutput, dState, wanted, dChunkStart);
        Assert.NotEmpty(run);
        SelfModifyingInputGradients expected = ReferenceSelfModifying.Backward(c, dOutput, dState, dChunkStart);
        foreach ((string name, float[] actual) in run)
        {
            if (name is "dx" or "dq")
            {
                Compare.Close(name, actual, name == "dx" ? expected.X : expected.Q, Tolerances.SelfModifying.Gradient);
                continue;
            }

            foreach ((string memory, int start, int width) in GoldenScan.StateColumns(c.Dim))
            {
                Compare.Close(
                    $"{name} of {memory}", GoldenScan.Columns(actual, c.Columns, start, width),
                    GoldenScan.Columns(name == "ds0" ? expected.S0 : expected.ChunkStart, c.Columns, start, width),
                    Tolerances.SelfModifying.Gradient);
            }
        }
    }

    private List<(string Name, float[] Elements)> Everything(SelfModifyingCase c)
    {
        Run run = Forward(c);
        (double[] dOutput, double[] dState) = Upstream(c);
        return [("o", run.O), ("s", run.S), ("states", run.States), .. Backward(c, dOutput, dState).Select(g => (g.Key, g.Value))];
    }
}

public sealed class ManagedSelfModifyingTests() : SelfModifyingTests("managed");

public sealed class CpuSelfModifyingTests() : SelfModifyingTests("cpu");
