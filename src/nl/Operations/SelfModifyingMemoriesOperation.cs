namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>self-modifying-memories</c>, docs/specification.md, section 6, as models call it: x [B,T,H,D], q [B,T,H,D] normalised, s0
/// [B,H,D,3D+2], the columns k | v | mem | η | α of the memories side by side; settings chunk, objective l2 or dot, read, eta_scale,
/// eta_bias, alpha_bias, and optionally normalize_values, exact_gradient (false) and phase with chunk_start [B,H,D,3D+2]. Gives o and
/// s; with the setting phase chunk_start.
/// </summary>
internal sealed class SelfModifyingMemoriesOperation : Operation
{
    public override string Name => "self-modifying-memories";

    public override void Run(OperationRun run)
    {
        (SelfModifyingInputs inputs, SelfModifyingSettings settings) = SelfModifyingCase.Inputs(run);
        Shape state = SelfModifying.StateShape(inputs);
        var outputs = new SelfModifyingOutputs
        {
            O = run.Empty(inputs.X.Shape),
            S = run.Empty(state),
            ChunkStart = run.HasSetting("phase") ? run.Empty(state) : null,
        };
        SelfModifying.Forward(inputs, settings, outputs);
        run.Output("o", outputs.O);
        run.Output("s", outputs.S);
        run.OptionalOutput("chunk_start", outputs.ChunkStart);
    }
}

/// <summary>
/// <c>self-modifying-memories-backward</c>: the inputs of <c>self-modifying-memories</c>, do [B,T,H,D] and, each optional and then
/// zero, ds and dchunk_start [B,H,D,3D+2]. Gives dx, dq, ds0 and, where the case has chunk_start, dchunk_start.
/// </summary>
internal sealed class SelfModifyingMemoriesBackwardOperation : Operation
{
    public override string Name => "self-modifying-memories-backward";

    public override double Tolerance => GradientTolerance;

    public override void Run(OperationRun run)
    {
        (SelfModifyingInputs inputs, SelfModifyingSettings settings) = SelfModifyingCase.Inputs(run);
        string state = SelfModifyingCase.StateAxes(run);
        var upstream = new SelfModifyingOutputGradients(
            run.Input("do", "B T H D"), run.OptionalInput("ds", state), run.OptionalInput("dchunk_start", state));
        var outputs = new SelfModifyingOutputs
        {
            O = run.Empty(inputs.X.Shape),
            S = run.Empty(SelfModifying.StateShape(inputs)),
            ChunkStates = run.Empty(SelfModifying.SavedShape(inputs, settings)),
        };
        var gradients = new SelfModifyingGradients
        {
            X = run.EmptyLike(inputs.X),
            Q = run.EmptyLike(inputs.Q),
            S0 = run.EmptyLike(inputs.S0),
            ChunkStart = run.EmptyLike(inputs.ChunkStart),
        };
        SelfModifying.Forward(inputs, settings, outputs);
        SelfModifying.Backward(inputs, settings, outputs.ChunkStates, upstream, gradients);
        run.OptionalOutput("dx", gradients.X);
        run.OptionalOutput("dq", gradients.Q);
        run.OptionalOutput("ds0", gradients.S0);
        run.OptionalOutput("dchunk_start", gradients.ChunkStart);
    }
}

/// <summary>What the self-modifying operations share.</summary>
internal static class SelfModifyingCase
{
    public static (SelfModifyingInputs Inputs, SelfModifyingSettings Settings) Inputs(OperationRun run)
    {
        SelfModifyingSettings settings = Settings(run) with { Phase = run.OptionalWhole("phase") };
        Tensor x = run.Input("x", "B T H D"), q = run.Input("q", "B T H D");
        string state = StateAxes(run);
        var inputs = new SelfModifyingInputs
        {
            X = x,
            Q = q,
            S0 = run.Input("s0", state),
            ChunkStart = run.InputIf(settings.Phase > 0, "chunk_start", state),
        };
        return (inputs, settings);
    }

    public static string StateAxes(OperationRun run) => $"B H D {SelfModifyingSettings.StateColumns(run.Axis("D"))}";

    public static SelfModifyingSettings Settings(OperationRun run) => new(
        run.Count("chunk", ScanSettings.MaxChunk),
        run.Objective(),
        run.ReadOfChunks(),
        run.Number("eta_scale"),
        run.Number("eta_bias"),
        run.Number("alpha_bias"),
        run.Flag("normalize_values"))
    {
        ExactGradient = run.Flag("exact_gradient"),
    };
}
