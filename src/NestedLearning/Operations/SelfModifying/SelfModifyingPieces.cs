namespace NestedLearning.Operations;

/// <summary>The heads of a self-modifying scan's tensors.</summary>
internal static class SelfModifyingHeads
{
    /// <summary>Head <paramref name="head"/> of [B, H].</summary>
    public static SelfModifyingHead<float> Of(in SelfModifyingInputs inputs, SelfModifyingSettings settings, Tensor? chunkStates,
        int head) => new()
        {
            X = HeadRows.Tokens(inputs.X, head),
            Q = HeadRows.Tokens(inputs.Q, head),
            Dim = inputs.Dim,
            Settings = settings,
            Plan = settings.Plan(inputs.Time),
            S0 = HeadRows.State(inputs.S0, head),
            ChunkStart = HeadRows.State(inputs.ChunkStart, head),
            Saved = HeadRows.State(chunkStates, head),
        };
}

/// <summary>The self-modifying scan's forward pass over one head.</summary>
internal readonly unsafe struct SelfModifyingForwardPiece(SelfModifyingInputs inputs, SelfModifyingSettings settings,
    SelfModifyingOutputs outputs) : IPieceAction
{
    public void Invoke(int piece)
    {
        SelfModifyingHead<float> head = SelfModifyingHeads.Of(inputs, settings, outputs.ChunkStates, piece);
        new SelfModifyingForward<float>(
            head, HeadRows.Tokens(outputs.O, piece), HeadRows.State(outputs.S, piece), HeadRows.State(outputs.ChunkStart, piece),
            Scratch.Take(SelfModifyingForward<float>.ScratchLength(head))).Run();
    }
}

/// <summary>Its backward pass over one head.</summary>
internal readonly unsafe struct SelfModifyingBackwardPiece(SelfModifyingInputs inputs, SelfModifyingSettings settings, Tensor chunkStates,
    SelfModifyingOutputGradients upstream, SelfModifyingGradients gradients) : IPieceAction
{
    public void Invoke(int piece)
    {
        SelfModifyingHead<float> head = SelfModifyingHeads.Of(inputs, settings, chunkStates, piece);
        new SelfModifyingBackward<float>(
            head, HeadRows.Tokens(upstream.O, piece),
            new(HeadRows.State(upstream.S, piece), HeadRows.State(upstream.ChunkStart, piece)), HeadRows.Tokens(gradients.X, piece),
            HeadRows.Tokens(gradients.Q, piece), new(HeadRows.State(gradients.S0, piece), HeadRows.State(gradients.ChunkStart, piece)),
            Scratch.Take(SelfModifyingBackward<float>.ScratchLength(head))).Run();
    }
}
