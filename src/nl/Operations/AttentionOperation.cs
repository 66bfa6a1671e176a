namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>attention</c>, causal softmax attention: q [B,T,H,Dk], k [B,S,H,Dk], v [B,S,H,Dv] with S ≥ T, the first S − T keys being
/// a cache of earlier tokens; setting scale. Gives o [B,T,H,Dv] and log_sums [B,T,H].
/// </summary>
internal sealed class AttentionOperation : Operation
{
    public override string Name => "attention";

    public override void Run(OperationRun run)
    {
        (AttentionInputs inputs, AttentionSettings settings, AttentionOutputs outputs) = Take(run);
        Attention.Forward(inputs, settings, outputs);
        run.Outputs(AttentionTensors.Outputs, outputs);
        run.Outputs(AttentionTensors.Saved, outputs);
    }

    public static (AttentionInputs Inputs, AttentionSettings Settings, AttentionOutputs Outputs) Take(OperationRun run)
    {
        AttentionInputs inputs = run.Inputs(AttentionTensors.Inputs, _ => 0);
        var settings = new AttentionSettings(run.Number("scale"));
        OperationCall call = AttentionTensors.Validate(inputs, settings);
        AttentionOutputs outputs = AttentionTensors.Outputs.Make(call, run.Empty);
        return (inputs, settings, outputs with { LogSums = AttentionTensors.Saved.Make(call, run.Empty).LogSums });
    }
}

/// <summary><c>attention-backward</c>: the inputs of <c>attention</c> and do [B,T,H,Dv]. Gives dq, dk and dv.</summary>
internal sealed class AttentionBackwardOperation : Operation
{
    public override string Name => "attention-backward";

    public override double Tolerance => GradientTolerance;

    public override void Run(OperationRun run)
    {
        (AttentionInputs inputs, AttentionSettings settings, AttentionOutputs outputs) = AttentionOperation.Take(run);
        Tensor? dOutput = run.Inputs(AttentionTensors.Outputs.Gradients, _ => 0);
        AttentionGradients gradients = run.Gradients(AttentionTensors.Inputs, inputs);
        Attention.Forward(inputs, settings, outputs);
        Attention.Backward(inputs, settings, outputs, dOutput!, gradients);
        run.Outputs(AttentionTensors.Inputs.Gradients, gradients);
    }
}
