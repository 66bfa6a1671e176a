namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>mlp-memory</c>, docs/specification.md, section 2: q k v [B,T,H,D], w1 [B,H,N,D], w2 [B,H,D,N]; optional log_alpha theta erase mu
/// [B,T,H], and with mu the momenta p1 [B,H,N,D], p2 [B,H,D,N]; settings chunk, objective l2 or dot, read, residual true or false, and
/// optionally phase with chunk_start1, chunk_start2. Gives o, w1 and w2, with mu p1 and p2, with the setting phase chunk_start1 and
/// chunk_start2.
/// </summary>
internal sealed class DeepMemoryOperation : Operation
{
    public override string Name => "mlp-memory";

    public override void Run(OperationRun run)
    {
        (DeepMemoryInputs inputs, DeepMemorySettings settings) = DeepMemoryCase.Inputs(run);
        OperationCall call = DeepMemoryTensors.Validate(inputs, settings);
        DeepMemoryOutputs outputs = DeepMemoryTensors.Outputs.Make(call, run.Empty, optional: run.HasSetting("phase"));
        DeepMemory.Forward(inputs, settings, outputs);
        run.Outputs(DeepMemoryTensors.Outputs, outputs);
    }
}

/// <summary>
/// <c>mlp-memory-backward</c>: the inputs of <c>mlp-memory</c> and, each optional and then zero, the gradients do, dw1, dw2, dp1, dp2,
/// dchunk_start1, dchunk_start2 of its results. Gives d and the name of every input that the case has.
/// </summary>
internal sealed class DeepMemoryBackwardOperation : Operation
{
    public override string Name => "mlp-memory-backward";

    public override double Tolerance => GradientTolerance;

    public override void Run(OperationRun run)
    {
        (DeepMemoryInputs inputs, DeepMemorySettings settings) = DeepMemoryCase.Inputs(run);
        OperationCall call = DeepMemoryTensors.Validate(inputs, settings);
        DeepMemoryOutputGradients upstream = run.Inputs(DeepMemoryTensors.Outputs.Gradients, _ => call.Held);
        DeepMemorySaved saved = DeepMemoryTensors.Saved.Make(call, run.Empty);
        DeepMemoryGradients gradients = run.Gradients(DeepMemoryTensors.Inputs, inputs);
        DeepMemory.Forward(inputs, settings, DeepMemoryTensors.Outputs.Make(call, run.Empty, optional: false) with { Saved = saved });
        DeepMemory.Backward(inputs, settings, saved, upstream, gradients);
        run.Outputs(DeepMemoryTensors.Inputs.Gradients, gradients);
    }
}

/// <summary>What the two share.</summary>
internal static class DeepMemoryCase
{
    public static (DeepMemoryInputs Inputs, DeepMemorySettings Settings) Inputs(OperationRun run)
    {
        DeepMemorySettings settings = run.Flags(new DeepMemorySettings(
            run.Count("chunk", ScanSettings.MaxChunk),
            run.Objective(),
            run.ReadOfChunks(),
            run.Choice("residual", ("true", true), ("false", false)))
        {
            Phase = run.OptionalWhole("phase"),
        });
        return (run.Inputs(DeepMemoryTensors.Inputs, inputs => DeepMemoryTensors.Held(inputs, settings)), settings);
    }
}
