using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>The deep memory of docs/specification.md, section 2.</summary>
public abstract class DeepMemoryTests(string backend) : BackendTests(backend)
{
    // [B, T, H, D, N], a chunk length and a phase.
    private static readonly (int[] Shape, int Chunk, int Phase)[] s_shapes =
    [
        ([1, 1, 1, 1, 1], 8, 0),
        ([1, 5, 2, 8, 16], 1, 0),
        ([1, 7, 1, 3, 5], 8, 3),
        ([1, 8, 1, 17, 9], 8, 0),
        ([1, 9, 2, 17, 33], 8, 0),
        ([2, 29, 3, 12, 24], 8, 5),
        ([1, 65, 1, 24, 40], 32, 0),
        ([1, 40, 1, 32, 64], 16, 15),
        ([2, 21, 2, 5, 7], 4, 1),
        ([1, 70, 1, 16, 12], 64, 60),
        ([1, 90, 2, 8, 20], 80, 0),
    ];

    /// <summary>Results by name, those of <see cref="DeepMemoryOutputs"/> and what was saved.</summary>
    private sealed record Run(float[] O, DeepMemoryState Final, float[][] Saved);

    public static TheoryData<MemoryObjective, ScanRead, int> Cases()
    {
        var cases = new TheoryData<MemoryObjective, ScanRead, int>();
        foreach (MemoryObjective objective in Enum.GetValues<MemoryObjective>())
        {
            foreach (ScanRead read in Enum.GetValues<ScanRead>())
            {
                for (int shape = 0; shape < s_shapes.Length; shape++)
                    cases.Add(objective, read, shape);
            }
        }

        return cases;
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void Forward_MatchesReference(MemoryObjective objective, ScanRead read, int shape) =>
        CheckForward(Create(objective, read, shape));

    [Theory]
    [MemberData(nameof(Cases))]
    public void Backward_MatchesReference(MemoryObjective objective, ScanRead read, int shape) =>
        CheckBackward(Create(objective, read, shape));

    [Theory]
    [InlineData("")]
    [InlineData("a")]
    [InlineData("t")]
    [InlineData("e")]
    [InlineData("m")]
    [InlineData("em")]
    [InlineData("atem")]
    [InlineData("ate")]
    public void AbsentInputs_HaveTheirDefaults(string given)
    {
        foreach (MemoryObjective objective in Enum.GetValues<MemoryObjective>())
        {
            // θ = 1 writes much: the memory stays small for the few tokens of a short sequence.
            DeepMemoryCase c = DeepMemoryCase.Create(71, [1, 10, 2, 6, 9],
                new DeepMemorySettings(4, objective, ScanRead.After) { Phase = 1 }, given);
            CheckForward(c);
            CheckBackward(c);
        }
    }

    [Theory]
    [InlineData(MemoryObjective.L2, ScanRead.After)]
    [InlineData(MemoryObjective.L2, ScanRead.ChunkStart)]
    [InlineData(MemoryObjective.DotProduct, ScanRead.Before)]
    public void WithoutResidual_MatchesReference(MemoryObjective objective, ScanRead read)
    {
        DeepMemoryCase c = DeepMemoryCase.Create(72, [2, 21, 2, 7, 12], new DeepMemorySettings(8, objective, read, Residual: false)
        {
            Phase = 2,
        });
        CheckForward(c);
        CheckBackward(c);
    }

    [LargeTheory]
    [InlineData(double.NegativeInfinity, 0.5, 0.3)]
    [InlineData(0, 1, 0.9)]
    [InlineData(-0.1, 0, 0)]
    [InlineData(-80, 0.5, 0)]
    public void ExtremeGates_MatchReference(double logAlpha, double erase, double mu)
    {
        foreach (ScanRead read in Enum.GetValues<ScanRead>())
        {
            DeepMemoryCase c = DeepMemoryCase.Create(73, [1, 20, 2, 9, 14], new DeepMemorySettings(8, MemoryObjective.L2, read));
            Array.Fill(c.Erase!, erase);
            Array.Fill(c.Mu!, mu);
            for (int i = 1; i < c.LogAlpha!.Length; i += 2)
                c.LogAlpha[i] = logAlpha;
            CheckForward(c);
            CheckBackward(c);
        }
    }

    // Inputs of length 0 erase nothing and write nothing: ε stands between them and a division by zero.
    [LargeTheory]
    [InlineData(MemoryObjective.L2)]
    [InlineData(MemoryObjective.DotProduct)]
    public void ZeroKeys_EraseAndWriteNothing(MemoryObjective objective)
    {
        DeepMemoryCase c = DeepMemoryCase.Create(74, [1, 12, 1, 6, 10], new DeepMemorySettings(4, objective, ScanRead.After), "atep");
        c.K.AsSpan(5 * 6, 6).Clear();
        CheckForward(c);
        CheckBackward(c);

        // With W2 = 0 every hidden unit is 0 as well, until layer 2 is written.
        Array.Clear(c.K);
        Array.Clear(c.W2);
        Array.Clear(c.LogAlpha!);
        CheckForward(c);
        CheckBackward(c);
        Compare.SameBits("w1", ToFloat(Forward(c).Final.W1), ToFloat(c.W1));
    }

    [LargeTheory]
    [InlineData(MemoryObjective.L2, ScanRead.Before)]
    [InlineData(MemoryObjective.DotProduct, ScanRead.ChunkStart)]
    public void FinalState_MayTakeThePlaceOfTheInitialOne(MemoryObjective objective, ScanRead read)
    {
        DeepMemoryCase c = Create(objective, read, 5);
        Run apart = Forward(c), inPlace = Forward(c, inPlace: true);
        Compare.SameBits("o", inPlace.O, apart.O);
        SameState(inPlace.Final, apart.Final);
    }

    [Theory]
    [InlineData(0, 2, 2)]
    [InlineData(2, 0, 2)]
    [InlineData(2, 2, 0)]
    public void EmptySequence_LeavesTheMemory(int batch, int time, int heads)
    {
        foreach (int phase in (ReadOnlySpan<int>)[0, 3])
        {
            DeepMemoryCase c = DeepMemoryCase.Create(75, [batch, time, heads, 3, 4],
                new DeepMemorySettings(8, MemoryObjective.L2, ScanRead.After)
                {
                    Phase = phase,
                });
            CheckForward(c);
            CheckBackward(c);
            SameState(Forward(c).Final, new DeepMemoryState(c.W1, c.W2, c.P1!, c.P2!, c.ChunkStart1 ?? c.W1, c.ChunkStart2 ?? c.W2));
        }
    }

    [LargeFact]
    public void SavingStates_DoesNotChangeResults()
    {
        DeepMemoryCase c = Create(MemoryObjective.L2, ScanRead.Before, 5);
        DeepMemoryInputs inputs = Inputs(c);
        DeepMemoryOutputs outputs = Outputs(c, inputs, inPlace: false) with { Saved = default, ChunkStart1 = null, ChunkStart2 = null };
        DeepMemory.Forward(inputs, c.Settings, outputs);
        Run with = Forward(c);
        Compare.SameBits("o", outputs.O.ToArray(), with.O);
        Compare.SameBits("w1", outputs.W1.ToArray(), ToFloat(with.Final.W1));
        Compare.SameBits("p2", outputs.P2!.ToArray(), ToFloat(with.Final.P2));
    }

    [LargeFact]
    public void UnwantedGradients_DoNotChangeOthers()
    {
        DeepMemoryCase c = Create(MemoryObjective.L2, ScanRead.After, 5);
        foreach (string name in GradientNames)
        {
            CheckBackward(c, wanted: n => n == name);
            CheckBackward(c, wanted: n => n != name);
        }
    }

    [Theory]
    [MemberData(nameof(Cases))]
    public void AbsentUpstreamGradients_AreZero(MemoryObjective objective, ScanRead read, int shape)
    {
        DeepMemoryCase c = Create(objective, read, shape);
        CheckBackward(c, withState: false);
        CheckBackward(c, withOutput: false);
    }

    [LargeTheory]
    [InlineData(MemoryObjective.L2, ScanRead.After)]
    [InlineData(MemoryObjective.DotProduct, ScanRead.ChunkStart)]
    public void Threads_DoNotChangeBits(MemoryObjective objective, ScanRead read)
    {
        DeepMemoryCase c = DeepMemoryCase.Create(76, [2, 40, 3, 16, 24], new DeepMemorySettings(16, objective, read) { Phase = 7 });
        SameBitsForAnyThreads(() =>
        {
            Run run = Forward(c);
            return
            [
                ("o", run.O),
                .. Named("final", run.Final),
                .. Backward(c, Upstream(c)).Select(g => (g.Key, g.Value)),
            ];
        });
    }

    // The whole sequence's results from two halves, cut anywhere; and its gradients, the second half's going into the first.
    [LargeTheory]
    [InlineData(MemoryObjective.L2, ScanRead.After)]
    [InlineData(MemoryObjective.L2, ScanRead.Before)]
    [InlineData(MemoryObjective.L2, ScanRead.ChunkStart)]
    [InlineData(MemoryObjective.DotProduct, ScanRead.After)]
    public void CutAnywhere_ResultsAndGradientsAreTheWholes(MemoryObjective objective, ScanRead read)
    {
        const int Time = 21;
        var settings = new DeepMemorySettings(8, objective, read) { Phase = 3 };
        DeepMemoryCase c = DeepMemoryCase.Create(77, [2, Time, 2, 6, 10], settings);
        DeepMemoryResult expected = ReferenceDeepMemory.Forward(c);
        (double[] dO, DeepMemoryState dFinal) = Upstream(c);
        DeepMemoryInputGradients whole = ReferenceDeepMemory.Backward(c, dO, dFinal);
        Tolerance tolerance = Tolerances.DeepMemory;
        for (int cut = 1; cut < Time; cut++)
        {
            DeepMemoryCase first = c.Slice(0, cut, settings);
            Run before = Forward(first);
            DeepMemorySettings after = settings with { Phase = settings.NextPhase(cut) };
            DeepMemoryCase second = c.Slice(cut, Time, after) with
            {
                W1 = before.Final.W1,
                W2 = before.Final.W2,
                P1 = before.Final.P1,
                P2 = before.Final.P2,
                ChunkStart1 = after.Phase == 0 ? null : before.Final.ChunkStart1,
                ChunkStart2 = after.Phase == 0 ? null : before.Final.ChunkStart2,
            };
            Run behind = Forward(second);
            Compare.Close("o", [.. before.O, .. behind.O], [.. Tokens(expected.O, 0, cut), .. Tokens(expected.O, cut, Time)],
                tolerance.Forward);
            CloseState(behind.Final, expected.Final, tolerance.Forward);

            Dictionary<string, float[]> g2 = Backward(second, (Tokens(dO, cut, Time), dFinal));
            double[] zero = new double[c.W1.Length];
            var between = new DeepMemoryState(
                Wide(g2["dw1"]), Wide(g2["dw2"]), Wide(g2["dp1"]), Wide(g2["dp2"]),
                after.Phase == 0 ? zero : Wide(g2["dchunk_start1"]), after.Phase == 0 ? zero : Wide(g2["dchunk_start2"]));
            Dictionary<string, float[]> g1 = Backward(first, (Tokens(dO, 0, cut), between));
            Compare.Close("dk", [.. g1["dk"], .. g2["dk"]], [.. Tokens(whole.K, 0, cut), .. Tokens(whole.K, cut, Time)],
                tolerance.Gradient);
            Compare.Close("dw1", g1["dw1"], whole.Initial.W1, tolerance.Gradient);
            Compare.Close("dchunk_start2", g1["dchunk_start2"], whole.Initial.ChunkStart2, tolerance.Gradient);
        }

        double[] Tokens(double[] all, int start, int end) => ScanCase.SliceTime(all, c.Batch, c.Heads * c.Dim, start, end);
    }

    [LargeFact]
    public void ChunkLength_IsPartOfTheMeaning()
    {
        DeepMemoryCase c = DeepMemoryCase.Create(78, [1, 48, 1, 12, 16], new DeepMemorySettings(8, MemoryObjective.L2, ScanRead.Before));
        Assert.True(Compare.RelativeError(Forward(c).O, Forward(c with { Settings = c.Settings with { Chunk = 16 } }).O) > 1e-2);
    }

    // What it is for: the more often keys come by, the better their values are known.
    [LargeFact]
    public void Memory_LearnsItsTargets()
    {
        const int Keys = 8, Times = 60, D = 16;
        DeepMemoryCase c = DeepMemoryCase.Create(79, [1, Keys * Times, 1, D, 32],
            new DeepMemorySettings(Keys, MemoryObjective.L2, ScanRead.Before), "t");
        for (int i = Keys * D; i < c.K.Length; i++)
        {
            c.K[i] = c.K[i % (Keys * D)];
            c.V[i] = c.V[i % (Keys * D)];
        }

        float[] o = Forward(c with { Q = c.K, Theta = Array.ConvertAll(c.Theta!, _ => 0.012) }).O;
        double first = Error(0), last = Error(Times - 1);
        Assert.True(last < 0.5 * first, $"The error went from {first} to {last}.");

        double Error(int time) => Enumerable.Range(time * Keys * D, Keys * D).Sum(i => Math.Pow(o[i] - c.V[i], 2));
    }

    [LargeTheory]
    [InlineData(ScanRead.Before)]
    [InlineData(ScanRead.After)]
    [InlineData(ScanRead.ChunkStart)]
    public void NaNInAKey_ReachesLaterTokensOfItsHead_AndNoOther(ScanRead read)
    {
        const int Time = 21, Heads = 3, Token = 10, Head = 1, D = 6;
        DeepMemoryCase c = DeepMemoryCase.Create(80, [2, Time, Heads, D, 9], new DeepMemorySettings(8, MemoryObjective.L2, read));
        Run clean = Forward(c);
        c.K[((Time + Token) * Heads + Head) * D + 3] = double.NaN;
        Run run = Forward(c);
        int reached = read switch { ScanRead.After => Token, ScanRead.Before => Token + 1, _ => 16 };
        for (int i = 0; i < run.O.Length; i++)
        {
            int head = i / D % Heads, t = i / D / Heads % Time, batch = i / D / Heads / Time;
            if (batch == 1 && head == Head && t >= reached)
                Assert.True(float.IsNaN(run.O[i]), $"o[{batch}, {t}, {head}] is {run.O[i]}, expected NaN.");
            else
                Assert.Equal(clean.O[i], run.O[i]);
        }
    }

    [LargeFact]
    public void NaNInAnUpstreamGradient_ReachesItsHead_AndNoOther()
    {
        const int Time = 21, Heads = 3, Token = 10, Head = 1, D = 6;
        DeepMemoryCase c = DeepMemoryCase.Create(81, [2, Time, Heads, D, 9], new DeepMemorySettings(8, MemoryObjective.L2, ScanRead.After));
        (double[] dO, DeepMemoryState dFinal) = Upstream(c);
        Dictionary<string, float[]> clean = Backward(c, (dO, dFinal));
        dO[((Time + Token) * Heads + Head) * D + 2] = double.NaN;
        Dictionary<string, float[]> run = Backward(c, (dO, dFinal));
        foreach (string name in (ReadOnlySpan<string>)["dq", "dk", "dv"])
        {
            for (int i = 0; i < run[name].Length; i++)
            {
                int head = i / D % Heads, t = i / D / Heads % Time, batch = i / D / Heads / Time;
                if (batch != 1 || head != Head || t > Token)
                    Assert.Equal(clean[name][i], run[name][i]);
            }
        }

        Assert.True(float.IsNaN(run["dq"][((Time + Token) * Heads + Head) * D]));
        Assert.True(float.IsNaN(run["dk"][(Time * Heads + Head) * D]));
        Assert.True(float.IsNaN(run["dw1"][(Heads + Head) * 9 * D]));
    }

    [LargeTheory]
    [MemberData(nameof(GoldenNames.DeepMemory), MemberType = typeof(GoldenNames))]
    public void Forward_GivesGoldenResults(string name)
    {
        GoldenCase golden = GoldenCase.Load(name);
        Run run = Forward(DeepMemoryCase.FromGolden(golden));
        foreach (string result in golden.Results)
        {
            golden.Check(result, result switch
            {
                "o" => run.O,
                "w1" => ToFloat(run.Final.W1),
                "w2" => ToFloat(run.Final.W2),
                "p1" => ToFloat(run.Final.P1),
                "p2" => ToFloat(run.Final.P2),
                "chunk_start1" => ToFloat(run.Final.ChunkStart1),
                _ => ToFloat(run.Final.ChunkStart2),
            });
        }
    }

    [Fact]
    public void BadArguments_AreNamed()
    {
        DeepMemoryCase c = Create(MemoryObjective.L2, ScanRead.After, 4);
        DeepMemoryInputs inputs = Inputs(c);
        DeepMemoryOutputs outputs = Outputs(c, inputs, inPlace: false);
        Refused("settings", "The chunk is 0 tokens, expected 1 to 256.", inputs, c.Settings with { Chunk = 0 }, outputs);
        Refused("settings", "The phase is 8 tokens, expected 0 to 7.", inputs, c.Settings with { Phase = 8 }, outputs);
        Refused("chunk_start1", "chunk_start1 is missing, expected it exactly when the phase is not 0.", inputs,
            c.Settings with { Phase = 1 }, outputs);
        Refused("chunk_start2", "chunk_start2 is given, expected it exactly when the phase is not 0.",
            inputs with { ChunkStart2 = inputs.W2 }, c.Settings, outputs);
        Refused("k", "k has shape [1, 2, 33, 17], expected [1, 9, 2, 17].", inputs with { K = Zeros([1, 2, 33, 17]) }, c.Settings, outputs);
        Refused("w1", "w1 has shape [1, 2, 17, 33], expected [1, 2, 33, 17].", inputs with { W1 = inputs.W2 }, c.Settings, outputs);
        Refused("p1", "p1 is given, expected it exactly when mu is given.", inputs with { Mu = null }, c.Settings, outputs);
        Refused("p2", "p2 is missing, expected it exactly when mu is given.", inputs, c.Settings, outputs with { P2 = null });
        Refused("theta", "theta has shape [1, 9], expected [1, 9, 2].", inputs with { Theta = Zeros([1, 9]) }, c.Settings, outputs);
        Refused("saved p1", "saved p1 is missing, expected it exactly when mu is given and a backward pass follows.", inputs, c.Settings,
            outputs with
            {
                Saved = outputs.Saved with { P1 = null },
            });
        Assert.All(outputs.O.ToArray(), x => Assert.True(float.IsNaN(x)));

        ArgumentException e = Assert.ThrowsAny<ArgumentException>(() => DeepMemory.Backward(
            inputs with { Theta = null }, c.Settings, outputs.Saved, new DeepMemoryOutputGradients { O = outputs.O },
            new DeepMemoryGradients { Theta = Zeros([1, 9, 2]) }));
        Assert.StartsWith("dtheta is asked for, but its input is not given.", e.Message, StringComparison.Ordinal);
    }

    private static readonly string[] GradientNames =
        ["dq", "dk", "dv", "dlog_alpha", "dtheta", "derase", "dmu", "dw1", "dw2", "dp1", "dp2", "dchunk_start1", "dchunk_start2"];

    private static void Refused(string name, string message, DeepMemoryInputs inputs, DeepMemorySettings settings,
        DeepMemoryOutputs outputs)
    {
        ArgumentException e = Assert.ThrowsAny<ArgumentException>(() => DeepMemory.Forward(inputs, settings, outputs));
        Assert.Equal(name, e.ParamName);
        Assert.StartsWith(message, e.Message, StringComparison.Ordinal);
    }

    private static DeepMemoryCase Create(MemoryObjective objective, ScanRead read, int shape)
    {
        (int[] axes, int chunk, int phase) = s_shapes[shape];
        return DeepMemoryCase.Create((ulong)shape + 60, new Shape(axes), new DeepMemorySettings(chunk, objective, read) { Phase = phase });
    }

    private static float[] ToFloat(double[] elements) => Array.ConvertAll(elements, e => (float)e);

    private static double[] Wide(float[] elements) => Compare.ToDouble(elements);

    private static (double[] Output, DeepMemoryState Final) Upstream(DeepMemoryCase c)
    {
        var data = new TestData(99);
        return (Wide(data.Normal(c.TokenShape)), new DeepMemoryState(Weights(), Weights(), Weights(), Weights(), Weights(), Weights()));

        double[] Weights() => Wide(data.Normal(c.W1.Length));
    }

    private static IEnumerable<(string Name, float[] Elements)> Named(string name, DeepMemoryState state) =>
    [
        ($"{name} w1", ToFloat(state.W1)), ($"{name} w2", ToFloat(state.W2)), ($"{name} p1", ToFloat(state.P1)),
            ($"{name} p2", ToFloat(state.P2)),
        ($"{name} chunk_start1", ToFloat(state.ChunkStart1)), ($"{name} chunk_start2", ToFloat(state.ChunkStart2)),
    ];

    private static void SameState(DeepMemoryState actual, DeepMemoryState expected)
    {
        foreach (((string name, float[] a), (_, float[] e)) in Named("final", actual).Zip(Named("final", expected)))
            Compare.SameBits(name, a, e);
    }

    private static void CloseState(DeepMemoryState actual, DeepMemoryState expected, double tolerance)
    {
        Compare.Close("w1", actual.W1, expected.W1, tolerance);
        Compare.Close("w2", actual.W2, expected.W2, tolerance);
        Compare.Close("p1", actual.P1, expected.P1, tolerance);
        Compare.Close("p2", actual.P2, expected.P2, tolerance);
        Compare.Close("chunk_start1", actual.ChunkStart1, expected.ChunkStart1, tolerance);
        Compare.Close("chunk_start2", actual.ChunkStart2, expected.ChunkStart2, tolerance);
    }

    private Tensor? Optional(Shape shape, double[]? elements) => elements is null ? null : From(shape, ToFloat(elements));

    private DeepMemoryInputs Inputs(DeepMemoryCase c) => new()
    {
        Q = From(c.TokenShape, ToFloat(c.Q)),
        K = From(c.TokenShape, ToFloat(c.K)),
        V = From(c.TokenShape, ToFloat(c.V)),
        LogAlpha = Optional(c.GateShape, c.LogAlpha),
        Theta = Optional(c.GateShape, c.Theta),
        Erase = Optional(c.GateShape, c.Erase),
        Mu = Optional(c.GateShape, c.Mu),
        W1 = From(c.Shape1, ToFloat(c.W1)),
        W2 = From(c.Shape2, ToFloat(c.W2)),
        P1 = Optional(c.Shape1, c.P1),
        P2 = Optional(c.Shape2, c.P2),
        ChunkStart1 = Optional(c.Shape1, c.ChunkStart1),
        ChunkStart2 = Optional(c.Shape2, c.ChunkStart2),
    };

    private DeepMemoryOutputs Outputs(DeepMemoryCase c, DeepMemoryInputs inputs, bool inPlace)
    {
        bool momentum = c.Mu is not null;
        return new()
        {
            O = Unwritten(c.TokenShape),
            W1 = inPlace ? inputs.W1 : Unwritten(c.Shape1),
            W2 = inPlace ? inputs.W2 : Unwritten(c.Shape2),
            P1 = inPlace ? inputs.P1 : momentum ? Unwritten(c.Shape1) : null,
            P2 = inPlace ? inputs.P2 : momentum ? Unwritten(c.Shape2) : null,
            ChunkStart1 = inPlace ? inputs.ChunkStart1 : Unwritten(c.Shape1),
            ChunkStart2 = inPlace ? inputs.ChunkStart2 : Unwritten(c.Shape2),
            Saved = new DeepMemorySaved(
                Unwritten(c.SavedShape1), Unwritten(c.SavedShape2), momentum ? Unwritten(c.SavedShape1) : null,
                momentum ? Unwritten(c.SavedShape2) : null),
        };
    }

    private Run Forward(DeepMemoryCase c, bool inPlace = false)
    {
        DeepMemoryInputs inputs = Inputs(c);
        DeepMemoryOutputs outputs = Outputs(c, inputs, inPlace);
        DeepMemory.Forward(inputs, c.Settings, outputs);
        float[] none = new float[c.W1.Length];
        return new Run(
            outputs.O.ToArray(),
            new DeepMemoryState(
                Wide(outputs.W1.ToArray()), Wide(outputs.W2.ToArray()), Wide(outputs.P1?.ToArray() ?? none),
                Wide(outputs.P2?.ToArray() ?? none),
                Wide(outputs.ChunkStart1!.ToArray()), Wide(outputs.ChunkStart2!.ToArray())),
            [outputs.Saved.W1!.ToArray(), outputs.Saved.W2!.ToArray(), outputs.Saved.P1?.ToArray() ?? [],
            outputs.Saved.P2?.ToArray() ?? []]);
    }

    private Dictionary<string, float[]> Backward(
        DeepMemoryCase c, (double[] Output, DeepMemoryState Final) upstream, Func<string, bool>? wanted = null, bool withState = true,
        bool withOutput = true)
    {
        DeepMemoryInputs inputs = Inputs(c);
        DeepMemoryOutputs outputs = Outputs(c, inputs, inPlace: false);
        DeepMemory.Forward(inputs, c.Settings, outputs);
        bool momentum = c.Mu is not null;
        var arriving = new DeepMemoryOutputGradients
        {
            O = withOutput ? From(c.TokenShape, ToFloat(upstream.Output)) : null,
            W1 = State(c.Shape1, upstream.Final.W1),
            W2 = State(c.Shape2, upstream.Final.W2),
            P1 = momentum ? State(c.Shape1, upstream.Final.P1) : null,
            P2 = momentum ? State(c.Shape2, upstream.Final.P2) : null,
            ChunkStart1 = State(c.Shape1, upstream.Final.ChunkStart1),
            ChunkStart2 = State(c.Shape2, upstream.Final.ChunkStart2),
        };
        var run = new Dictionary<string, Tensor>();
        var gradients = new DeepMemoryGradients
        {
            Q = Want("dq", inputs.Q),
            K = Want("dk", inputs.K),
            V = Want("dv", inputs.V),
            LogAlpha = Want("dlog_alpha", inputs.LogAlpha),
            Theta = Want("dtheta", inputs.Theta),
            Erase = Want("derase", inputs.Erase),
            Mu = Want("dmu", inputs.Mu),
            W1 = Want("dw1", inputs.W1),
            W2 = Want("dw2", inputs.W2),
            P1 = Want("dp1", momentum ? inputs.W1 : null),
            P2 = Want("dp2", momentum ? inputs.W2 : null),
            ChunkStart1 = Want("dchunk_start1", inputs.ChunkStart1),
            ChunkStart2 = Want("dchunk_start2", inputs.ChunkStart2),
        };
        DeepMemory.Backward(inputs, c.Settings, outputs.Saved, arriving, gradients);
        return run.ToDictionary(g => g.Key, g => g.Value.ToArray());

        Tensor? State(Shape shape, double[] gradient) => withState ? From(shape, ToFloat(gradient)) : null;

        Tensor? Want(string name, Tensor? input)
        {
            if (input is null || wanted?.Invoke(name) == false)
                return null;
            return run[name] = Unwritten(input.Shape);
        }
    }

    private void CheckForward(DeepMemoryCase c)
    {
        Run run = Forward(c);
        DeepMemoryResult expected = ReferenceDeepMemory.Forward(c);
        double tolerance = Tolerances.DeepMemory.Forward;
        Compare.Close("o", run.O, expected.O, tolerance);
        bool momentum = c.Mu is not null;
        double[] none = new double[c.W1.Length];
        CloseState(run.Final, momentum ? expected.Final : expected.Final with { P1 = none, P2 = none }, tolerance);
        Compare.Close("saved w1", run.Saved[0], expected.SavedW1, tolerance);
        Compare.Close("saved w2", run.Saved[1], expected.SavedW2, tolerance);
        if (momentum)
        {
            Compare.Close("saved p1", run.Saved[2], expected.SavedP1, tolerance);
            Compare.Close("saved p2", run.Saved[3], expected.SavedP2, tolerance);
        }
    }

    private void CheckBackward(DeepMemoryCase c, Func<string, bool>? wanted = null, bool withState = true, bool withOutput = true)
    {
        (double[] dO, DeepMemoryState final) = Upstream(c);
        double[] none = new double[c.W1.Length];
        Dictionary<string, float[]> run = Backward(c, (dO, final), wanted, withState, withOutput);
        if (c.Mu is null)
            final = final with { P1 = none, P2 = none };
        DeepMemoryInputGradients expected = ReferenceDeepMemory.Backward(
            c, withOutput ? dO : new double[dO.Length], withState ? final : new DeepMemoryState(none, none, none, none, none, none));
        double[][] all =
        [
            expected.Q, expected.K, expected.V, expected.LogAlpha, expected.Theta, expected.Erase, expected.Mu, expected.Initial.W1,
                expected.Initial.W2,
            expected.Initial.P1, expected.Initial.P2, expected.Initial.ChunkStart1, expected.Initial.ChunkStart2,
        ];
        for (int i = 0; i < all.Length; i++)
        {
            if (run.TryGetValue(GradientNames[i], out float[]? gradient))
                Compare.Close(GradientNames[i], gradient, all[i], Tolerances.DeepMemory.Gradient);
        }
    }
}

public sealed class ManagedDeepMemoryTests() : DeepMemoryTests("managed");

public sealed class CpuDeepMemoryTests() : DeepMemoryTests("cpu");
