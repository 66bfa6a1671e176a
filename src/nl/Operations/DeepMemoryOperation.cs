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
        DeepMemoryOutputs outputs = DeepMemoryCase.Outputs(run, inputs);
        if (run.HasSetting("phase"))
        {
            outputs = outputs with
            {
                ChunkStart1 = run.Empty(DeepMemory.Shape1(inputs)),
                ChunkStart2 = run.Empty(DeepMemory.Shape2(inputs)),
            };
        }

        DeepMemory.Forward(inputs, settings, outputs);
        run.Output("o", outputs.O);
        run.Output("w1", outputs.W1);
        run.Output("w2", outputs.W2);
        run.OptionalOutput("p1", outputs.P1);
        run.OptionalOutput("p2", outputs.P2);
        run.OptionalOutput("chunk_start1", outputs.ChunkStart1);
        run.OptionalOutput("chunk_start2", outputs.ChunkStart2);
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
        bool momentum = inputs.Mu is not null;
        var upstream = new DeepMemoryOutputGradients
        {
            O = run.OptionalInput("do", "B T H D"),
            W1 = run.OptionalInput("dw1", "B H N D"),
            W2 = run.OptionalInput("dw2", "B H D N"),
            P1 = momentum ? run.OptionalInput("dp1", "B H N D") : null,
            P2 = momentum ? run.OptionalInput("dp2", "B H D N") : null,
            ChunkStart1 = run.OptionalInput("dchunk_start1", "B H N D"),
            ChunkStart2 = run.OptionalInput("dchunk_start2", "B H D N"),
        };
        Shape saved1 = DeepMemory.SavedShape1(inputs, settings), saved2 = DeepMemory.SavedShape2(inputs, settings);
        DeepMemoryOutputs outputs = DeepMemoryCase.Outputs(run, inputs) with
        {
            Saved = new DeepMemorySaved(
                run.Empty(saved1), run.Empty(saved2), momentum ? run.Empty(saved1) : null, momentum ? run.Empty(saved2) : null),
        };
        var gradients = new DeepMemoryGradients
        {
            Q = run.EmptyLike(inputs.Q),
            K = run.EmptyLike(inputs.K),
            V = run.EmptyLike(inputs.V),
            LogAlpha = run.EmptyLike(inputs.LogAlpha),
            Theta = run.EmptyLike(inputs.Theta),
            Erase = run.EmptyLike(inputs.Erase),
            Mu = run.EmptyLike(inputs.Mu),
            W1 = run.EmptyLike(inputs.W1),
            W2 = run.EmptyLike(inputs.W2),
            P1 = run.EmptyLike(inputs.P1),
            P2 = run.EmptyLike(inputs.P2),
            ChunkStart1 = run.EmptyLike(inputs.ChunkStart1),
            ChunkStart2 = run.EmptyLike(inputs.ChunkStart2),
        };
        DeepMemory.Forward(inputs, settings, outputs);
        DeepMemory.Backward(inputs, settings, outputs.Saved, upstream, gradients);
        Give(run, gradients);
    }

    private static void Give(OperationRun run, in DeepMemoryGradients gradients)
    {
        run.OptionalOutput("dq", gradients.Q);
        run.OptionalOutput("dk", gradients.K);
        run.OptionalOutput("dv", gradients.V);
        run.OptionalOutput("dlog_alpha", gradients.LogAlpha);
        run.OptionalOutput("dtheta", gradients.Theta);
        run.OptionalOutput("derase", gradients.Erase);
        run.OptionalOutput("dmu", gradients.Mu);
        run.OptionalOutput("dw1", gradients.W1);
        run.OptionalOutput("dw2", gradients.W2);
        run.OptionalOutput("dp1", gradients.P1);
        run.OptionalOutput("dp2", gradients.P2);
        run.OptionalOutput("dchunk_start1", gradients.ChunkStart1);
        run.OptionalOutput("dchunk_start2", gradients.ChunkStart2);
    }
}

/// <summary>What the two share.</summary>
internal static class DeepMemoryCase
{
    public static (DeepMemoryInputs Inputs, DeepMemorySettings Settings) Inputs(OperationRun run)
    {
        var settings = new DeepMemorySettings(
            run.Count("chunk", ScanSettings.MaxChunk),
            run.Objective(),
            run.ReadOfChunks(),
            run.Choice("residual", ("true", true), ("false", false)))
        {
            Phase = run.OptionalWhole("phase"),
        };
        Tensor? mu;
        var inputs = new DeepMemoryInputs
        {
            Q = run.Input("q", "B T H D"),
            K = run.Input("k", "B T H D"),
            V = run.Input("v", "B T H D"),
            LogAlpha = run.OptionalInput("log_alpha", "B T H"),
            Theta = run.OptionalInput("theta", "B T H"),
            Erase = run.OptionalInput("erase", "B T H"),
            Mu = mu = run.OptionalInput("mu", "B T H"),
            W1 = run.Input("w1", "B H N D"),
            W2 = run.Input("w2", "B H D N"),
            P1 = mu is null ? null : run.OptionalInput("p1", "B H N D"),
            P2 = mu is null ? null : run.OptionalInput("p2", "B H D N"),
            ChunkStart1 = run.InputIf(settings.Phase > 0, "chunk_start1", "B H N D"),
            ChunkStart2 = run.InputIf(settings.Phase > 0, "chunk_start2", "B H D N"),
        };
        return (inputs, settings);
    }

    public static DeepMemoryOutputs Outputs(OperationRun run, in DeepMemoryInputs inputs)
    {
        Shape w1 = DeepMemory.Shape1(inputs), w2 = DeepMemory.Shape2(inputs);
        bool momentum = inputs.Mu is not null;
        return new DeepMemoryOutputs
        {
            O = run.Empty(inputs.Q.Shape),
            W1 = run.Empty(w1),
            W2 = run.Empty(w2),
            P1 = momentum ? run.Empty(w1) : null,
            P2 = momentum ? run.Empty(w2) : null,
        };
    }
}
