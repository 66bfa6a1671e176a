using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>The self-modifying scan's forward pass over one head.</summary>
internal readonly unsafe struct SelfModifyingForwardPiece(SelfModifyingInputs inputs, SelfModifyingSettings settings,
    SelfModifyingOutputs outputs) : IPieceAction
{
    public void Invoke(int piece)
    {
        var measure = new ScratchArena(null);
        Layout(ref measure, piece, out _, out _, out _);
        var arena = new ScratchArena(Scratch.Take(measure.Length));
        Layout(ref arena, piece, out SelfModifyingChunk chunk, out MatrixView s, out MatrixView began);

        ChunkPlan plan = settings.Plan(inputs.Time);
        SelfModifyingChunk.LoadState(HeadRows.State(inputs.S0, piece), chunk.Dim, s);
        if (plan.Phase > 0)
        {
            SelfModifyingChunk.LoadState(HeadRows.State(inputs.ChunkStart, piece), chunk.Dim, began);
            Store(outputs.ChunkStart, 0, began);
        }

        MatrixView o = HeadRows.Tokens(outputs.O, piece / inputs.Heads, piece % inputs.Heads);
        for (int index = 0; index < plan.Count; index++)
        {
            MatrixView frozen = plan.BeganBefore(index) ? began : s;
            Store(outputs.ChunkStates, index, s);
            if (index == plan.Count - 1)
                Store(outputs.ChunkStart, 0, frozen);
            chunk.Load(plan.Start(index), plan.Length(index), s, frozen);
            chunk.Read(s, frozen, o.FromRow(chunk.Start));
            chunk.Advance(s);
        }

        Store(outputs.S, 0, s);
        if (plan.NextPhase == 0)
            Store(outputs.ChunkStart, 0, s);

        void Store(Tensor? states, int index, MatrixView state)
        {
            if (states is not null)
                CopyRows(state, states.Shape[^2], states.Shape[^1], HeadRows.State(states, piece, index));
        }
    }

    private void Layout(ref ScratchArena arena, int piece, out SelfModifyingChunk chunk, out MatrixView s, out MatrixView began)
    {
        chunk = new SelfModifyingChunk(ref arena, inputs, settings, piece);
        s = arena.Matrix(chunk.Dim, chunk.PaddedColumns);
        began = settings.Phase == 0 ? default : arena.Matrix(chunk.Dim, chunk.PaddedColumns);
    }
}
