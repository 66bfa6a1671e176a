namespace NestedLearning;

internal sealed partial class ManagedBackend
{
    public override void ScanForward(in ScanInputs inputs, ScanSettings settings, in ScanOutputs outputs)
    {
        var piece = new ScanForwardPiece(inputs, settings, outputs);
        Work.For(piece.Pieces, ScanCost.Operations(inputs, settings), piece);
    }

    public override void ScanBackward(in ScanInputs inputs, ScanSettings settings, in ScanSaved saved, in ScanOutputGradients upstream,
        in ScanGradients gradients)
    {
        var piece = new ScanBackwardPiece(inputs, settings, saved, upstream, gradients);
        Work.For(inputs.Batch * inputs.Heads, 3 * ScanCost.Operations(inputs, settings), piece);
    }
}
