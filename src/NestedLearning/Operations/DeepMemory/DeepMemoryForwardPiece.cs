namespace NestedLearning.Operations;

/// <summary>A deep memory's forward pass over one head.</summary>
internal readonly unsafe struct DeepMemoryForwardPiece(DeepMemoryInputs inputs, DeepMemorySettings settings, DeepMemoryOutputs outputs)
    : IPieceAction
{
    public void Invoke(int piece)
    {
        var measure = new ScratchArena(null);
        Layout(ref measure, piece, out _, out _, out _);
        var arena = new ScratchArena(Scratch.Take(measure.Length));
        Layout(ref arena, piece, out DeepMemoryChunk chunk, out DeepMemoryWeights state, out DeepMemoryWeights frozen);

        int dim = inputs.Dim, hidden = inputs.Hidden;
        ChunkPlan plan = settings.Plan(inputs.Time);
        DeepMemoryWeights.Of(piece, inputs.W1, inputs.W2, inputs.P1, inputs.P2).CopyTo(state, dim, hidden);
        DeepMemoryWeights.Of(piece, inputs.ChunkStart1, inputs.ChunkStart2).CopyTo(frozen, dim, hidden);
        MatrixView o = HeadRows.Tokens(outputs.O, piece / inputs.Heads, piece % inputs.Heads);
        for (int index = 0; index < plan.Count; index++)
        {
            state.CopyTo(DeepMemoryWeights.Of(piece, outputs.Saved.W1, outputs.Saved.W2, outputs.Saved.P1, outputs.Saved.P2, index), dim,
                hidden);
            if (!plan.BeganBefore(index))
                state.CopyTo(frozen, dim, hidden);
            chunk.Load(plan.Start(index), plan.Length(index), frozen, state);
            chunk.Read(frozen, state, o.FromRow(chunk.Start));
            chunk.Advance(state);
        }

        state.CopyTo(DeepMemoryWeights.Of(piece, outputs.W1, outputs.W2, outputs.P1, outputs.P2), dim, hidden);
        (plan.NextPhase == 0 ? state : frozen).CopyTo(DeepMemoryWeights.Of(piece, outputs.ChunkStart1, outputs.ChunkStart2), dim, hidden);
    }

    private void Layout(ref ScratchArena arena, int piece, out DeepMemoryChunk chunk, out DeepMemoryWeights state,
        out DeepMemoryWeights frozen)
    {
        chunk = new DeepMemoryChunk(ref arena, inputs, settings, piece);
        state = new DeepMemoryWeights(ref arena, inputs.Dim, inputs.Hidden, inputs.Mu is not null);
        frozen = new DeepMemoryWeights(ref arena, inputs.Dim, inputs.Hidden, momentum: false);
    }
}
