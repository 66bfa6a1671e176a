using static NestedLearning.SmallProducts;

namespace NestedLearning;

/// <summary>
/// The scan's forward pass over a block of one head's value columns. Columns of S do not depend on each other given the
/// keys and gates, so few heads with wide values still make enough pieces.
/// </summary>
internal readonly unsafe struct ScanForwardPiece : IPieceAction
{
    // Enough heads for any processor that the managed backend is meant for; below it wide values are cut.
    private const int EnoughHeads = 8;
    private const int BlockColumns = 64;

    private readonly ScanInputs _inputs;
    private readonly ScanSettings _settings;
    private readonly ScanOutputs _outputs;
    private readonly int _blocks, _blockColumns;

    public ScanForwardPiece(in ScanInputs inputs, ScanSettings settings, in ScanOutputs outputs)
    {
        _inputs = inputs;
        _settings = settings;
        _outputs = outputs;
        int heads = inputs.Batch * inputs.Heads;
        _blockColumns = heads >= EnoughHeads ? inputs.ValueDim : BlockColumns;
        _blocks = Math.Max(1, (inputs.ValueDim + _blockColumns - 1) / Math.Max(1, _blockColumns));
        Pieces = heads * _blocks;
    }

    public int Pieces { get; }

    public void Invoke(int piece)
    {
        int head = piece / _blocks;
        int firstColumn = piece % _blocks * _blockColumns;
        int columns = Math.Min(_blockColumns, _inputs.ValueDim - firstColumn);
        int dk = _inputs.KeyDim, time = _inputs.Time;
        bool momentum = _inputs.Mu is not null;

        var measure = new ScratchArena(null);
        Layout(ref measure, head, firstColumn, columns, out _, out _, out _);
        var arena = new ScratchArena(Scratch.Take(measure.Length));
        Layout(ref arena, head, firstColumn, columns, out ScanChunk chunk, out MatrixView s, out MatrixView p);

        LoadState(_inputs.S0, head, firstColumn, columns, s);
        if (momentum)
            LoadState(_inputs.P0, head, firstColumn, columns, p);

        MatrixView o = HeadRows.Tokens(_outputs.O, head / _inputs.Heads, head % _inputs.Heads).FromColumn(firstColumn);
        for (int start = 0, index = 0; start < time; start += _settings.Chunk, index++)
        {
            if (_outputs.Saved.States is not null)
                CopyRows(s, dk, columns, HeadRows.State(_outputs.Saved.States, head, index).FromColumn(firstColumn));
            if (momentum && _outputs.Saved.Momenta is not null)
                CopyRows(p, dk, columns, HeadRows.State(_outputs.Saved.Momenta, head, index).FromColumn(firstColumn));
            chunk.Load(start, Math.Min(_settings.Chunk, time - start));
            chunk.ComputeWrites(s, p);
            chunk.Read(s, p, o.FromRow(start));
            chunk.Advance(s, p);
        }

        CopyRows(s, dk, columns, HeadRows.State(_outputs.S, head).FromColumn(firstColumn));
        if (_outputs.P is not null)
            CopyRows(p, dk, columns, HeadRows.State(_outputs.P, head).FromColumn(firstColumn));
    }

    private void Layout(ref ScratchArena arena, int head, int firstColumn, int columns, out ScanChunk chunk, out MatrixView s, out MatrixView p)
    {
        chunk = new ScanChunk(ref arena, _inputs, _settings, head, firstColumn, columns);
        s = arena.Matrix(_inputs.KeyDim, columns);
        p = arena.Matrix(_inputs.KeyDim, columns);
    }

    private void LoadState(Tensor? source, int head, int firstColumn, int columns, MatrixView state)
    {
        if (source is null)
            Clear(state, _inputs.KeyDim, columns);
        else
            CopyRows(HeadRows.State(source, head).FromColumn(firstColumn), _inputs.KeyDim, columns, state);
    }
}
