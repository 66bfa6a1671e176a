namespace NestedLearning;

internal sealed partial class ManagedBackend
{
    public override void ScanForward(in ScanInputs inputs, ScanSettings settings, in ScanOutputs outputs)
    {
        var piece = new ScanForwardPiece(inputs, settings, outputs);
        Work.For(piece.Pieces, ScanOperations(inputs, settings), piece);
    }

    public override void ScanBackward(in ScanInputs inputs, ScanSettings settings, in ScanSaved saved, in ScanOutputGradients upstream, in ScanGradients gradients)
    {
        var piece = new ScanBackwardPiece(inputs, settings, saved, upstream, gradients);
        Work.For(inputs.Batch * inputs.Heads, 3 * ScanOperations(inputs, settings), piece);
    }

    // Per token: a read, an erase and a write of S, and the same inside the chunk.
    private static long ScanOperations(in ScanInputs inputs, ScanSettings settings)
    {
        long tokens = (long)inputs.Batch * inputs.Time * inputs.Heads;
        return tokens * 2 * (3L * inputs.KeyDim * inputs.ValueDim + (long)Math.Min(settings.Chunk, inputs.Time) * (inputs.KeyDim + inputs.ValueDim));
    }
}
