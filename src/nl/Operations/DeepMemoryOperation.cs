namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>mlp-memory</c>, spec section 2: q k v [B,T,H,D], w1 [B,H,N,D], w2 [B,H,D,N]; optional log_alpha theta erase mu
/// [B,T,H]; settings chunk, objective l2 or dot, read, residual true or false. Momenta start at 0. Gives o, w1 and w2.
/// </summary>
internal sealed class DeepMemoryOperation : Operation
{
    public override string Name => "mlp-memory";

    public override void Run(OperationRun run)
    {
        var inputs = new DeepMemoryInputs
        {
            Q = run.Input("q", "B T H D"),
            K = run.Input("k", "B T H D"),
            V = run.Input("v", "B T H D"),
            LogAlpha = run.OptionalInput("log_alpha", "B T H"),
            Theta = run.OptionalInput("theta", "B T H"),
            Erase = run.OptionalInput("erase", "B T H"),
            Mu = run.OptionalInput("mu", "B T H"),
            W1 = run.Input("w1", "B H N D"),
            W2 = run.Input("w2", "B H D N"),
        };
        var settings = new DeepMemorySettings(
            run.Count("chunk", ScanSettings.MaxChunk),
            run.Choice("objective", ("l2", MemoryObjective.L2), ("dot", MemoryObjective.DotProduct)),
            run.ReadOfChunks(),
            run.Choice("residual", ("true", true), ("false", false)));
        Shape w1 = run.Shape("B H N D"), w2 = run.Shape("B H D N");
        bool momentum = inputs.Mu is not null;
        var outputs = new DeepMemoryOutputs
        {
            O = run.Empty(run.Shape("B T H D")),
            W1 = run.Empty(w1),
            W2 = run.Empty(w2),
            P1 = momentum ? run.Empty(w1) : null,
            P2 = momentum ? run.Empty(w2) : null,
        };
        DeepMemory.Forward(inputs, settings, outputs);
        run.Output("o", outputs.O);
        run.Output("w1", outputs.W1);
        run.Output("w2", outputs.W2);
    }
}
