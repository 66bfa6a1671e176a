using static NestedLearning.SmallProducts;

namespace NestedLearning;

/// <summary>The self-modifying scan's forward pass over one head.</summary>
internal readonly unsafe struct SelfModifyingForwardPiece(SelfModifyingInputs inputs, SelfModifyingSettings settings, SelfModifyingOutputs outputs) : IPieceAction
{
    public void Invoke(int piece)
    {
        var measure = new ScratchArena(null);
        Layout(ref measure, piece, out _, out _);
        var arena = new ScratchArena(Scratch.Take(measure.Length));
        Layout(ref arena, piece, out SelfModifyingChunk chunk, out MatrixView s);

        int time = inputs.Time;
        SelfModifyingChunk.LoadState(HeadRows.State(inputs.S0, piece), chunk.Dim, s);
        MatrixView o = HeadRows.Tokens(outputs.O, piece / inputs.Heads, piece % inputs.Heads);
        for (int start = 0, index = 0; start < time; start += settings.Chunk, index++)
        {
            if (outputs.ChunkStates is not null)
                CopyRows(s, chunk.Dim, chunk.Columns, HeadRows.State(outputs.ChunkStates, piece, index));
            chunk.Load(start, Math.Min(settings.Chunk, time - start), s);
            chunk.Read(s, o.FromRow(start));
            chunk.Advance(s);
        }

        CopyRows(s, chunk.Dim, chunk.Columns, HeadRows.State(outputs.S, piece));
    }

    private void Layout(ref ScratchArena arena, int piece, out SelfModifyingChunk chunk, out MatrixView s)
    {
        chunk = new SelfModifyingChunk(ref arena, inputs, settings, piece);
        s = arena.Matrix(chunk.Dim, chunk.PaddedColumns);
    }
}
