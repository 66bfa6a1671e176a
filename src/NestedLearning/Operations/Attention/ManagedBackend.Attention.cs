namespace NestedLearning;

internal sealed partial class ManagedBackend
{
    public override void AttentionForward(in AttentionInputs inputs, AttentionSettings settings, in AttentionOutputs outputs)
    {
        var piece = new AttentionForwardPiece(inputs, settings, outputs);
        Work.For(piece.Pieces, AttentionCost.Operations(inputs), piece);
    }

    public override void AttentionBackward(in AttentionInputs inputs, AttentionSettings settings, in AttentionOutputs outputs,
        Tensor dOutput, in AttentionGradients gradients) =>
        Work.For(inputs.Batch * inputs.Heads, 5 * AttentionCost.Operations(inputs) / 2,
            new AttentionBackwardPiece(inputs, settings, outputs, dOutput, gradients));
}
