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
        run.Output("o", outputs.O);
        run.OptionalOutput("log_sums", outputs.LogSums);
    }

    public static (AttentionInputs Inputs, AttentionSettings Settings, AttentionOutputs Outputs) Take(OperationRun run)
    {
        var inputs = new AttentionInputs
        {
            Q = run.Input("q", "B T H Dk"),
            K = run.Input("k", "B S H Dk"),
            V = run.Input("v", "B S H Dv"),
        };
        var outputs = new AttentionOutputs { O = run.Empty(run.Shape("B T H Dv")), LogSums = run.Empty(run.Shape("B T H")) };
        return (inputs, new AttentionSettings(run.Number("scale")), outputs);
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
        Tensor dOutput = run.Input("do", "B T H Dv");
        var gradients = new AttentionGradients { Q = run.EmptyLike(inputs.Q), K = run.EmptyLike(inputs.K), V = run.EmptyLike(inputs.V) };
        Attention.Forward(inputs, settings, outputs);
        Attention.Backward(inputs, settings, outputs, dOutput, gradients);
        run.OptionalOutput("dq", gradients.Q);
        run.OptionalOutput("dk", gradients.K);
        run.OptionalOutput("dv", gradients.V);
    }
}
