namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>self-modifying-memories</c>, docs/specification.md, section 6, as models call it: x [B,T,H,D], q [B,T,H,D] normalised, s0
/// [B,H,D,3D+2], the columns k | v | mem | η | α of the memories side by side; settings chunk, objective l2 or dot, read, eta_scale,
/// eta_bias, alpha_bias, and optionally the flags of <see cref="SelfModifyingSettings"/> and phase with chunk_start
/// [B,H,D,3D+2]. Gives o and s; with the setting phase chunk_start.
/// </summary>
internal sealed class SelfModifyingMemoriesOperation : Operation
{
    public override string Name => "self-modifying-memories";

    public override void Run(OperationRun run)
    {
        (SelfModifyingInputs inputs, SelfModifyingSettings settings) = SelfModifyingCase.Inputs(run);
        OperationCall call = SelfModifyingTensors.Validate(inputs, settings);
        SelfModifyingOutputs outputs = SelfModifyingTensors.Outputs.Make(call, run.Empty, optional: run.HasSetting("phase"));
        SelfModifying.Forward(inputs, settings, outputs);
        run.Outputs(SelfModifyingTensors.Outputs, outputs);
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
        OperationCall call = SelfModifyingTensors.Validate(inputs, settings);
        SelfModifyingOutputGradients upstream = run.Inputs(SelfModifyingTensors.Outputs.Gradients, _ => call.Held);
        Tensor states = SelfModifyingTensors.Saved.Make(call, run.Empty)!;
        SelfModifyingGradients gradients = run.Gradients(SelfModifyingTensors.Inputs, inputs);
        SelfModifyingOutputs outputs = SelfModifyingTensors.Outputs.Make(call, run.Empty, optional: false);
        SelfModifying.Forward(inputs, settings, outputs with { ChunkStates = states });
        SelfModifying.Backward(inputs, settings, states, upstream, gradients);
        run.Outputs(SelfModifyingTensors.Inputs.Gradients, gradients);
    }
}

/// <summary>What the self-modifying operations share.</summary>
internal static class SelfModifyingCase
{
    public static (SelfModifyingInputs Inputs, SelfModifyingSettings Settings) Inputs(OperationRun run)
    {
        SelfModifyingSettings settings = Settings(run) with { Phase = run.OptionalWhole("phase") };
        return (run.Inputs(SelfModifyingTensors.Inputs, _ => SelfModifyingTensors.Held(settings)), settings);
    }

    public static SelfModifyingSettings Settings(OperationRun run) => run.Flags(new SelfModifyingSettings(
        run.Count("chunk", ScanSettings.MaxChunk),
        run.Objective(),
        run.ReadOfChunks(),
        run.Number("eta_scale"),
        run.Number("eta_bias"),
        run.Number("alpha_bias")));
}
