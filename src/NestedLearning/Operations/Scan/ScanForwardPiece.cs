namespace NestedLearning.Operations;

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
        int head = piece / _blocks, firstColumn = piece % _blocks * _blockColumns;
        int columns = Math.Min(_blockColumns, _inputs.ValueDim - firstColumn);
        ScanHead<float> scan = ScanHeads.Of(_inputs, _settings, _outputs.Saved, head, firstColumn, columns);
        ScanStates<float> final = ScanHeads.States(_outputs.S, _outputs.P, _outputs.ChunkStart, head, firstColumn);
        Rows<float> o = HeadRows.Tokens(_outputs.O, head).From(0, firstColumn);
        new ScanForward<float>(scan, final, o, Scratch.Take(ScanForward<float>.ScratchLength(scan))).Run();
    }
}
