namespace NestedLearning;

internal sealed partial class ManagedBackend
{
    public override void SelfModifyingForward(in SelfModifyingInputs inputs, SelfModifyingSettings settings,
        in SelfModifyingOutputs outputs) =>
        Work.For(inputs.Batch * inputs.Heads, ScanCost.Operations(inputs, settings),
            new SelfModifyingForwardPiece(inputs, settings, outputs));

    public override void SelfModifyingBackward(in SelfModifyingInputs inputs, SelfModifyingSettings settings, Tensor chunkStates,
        in SelfModifyingOutputGradients upstream, in SelfModifyingGradients gradients) =>
        Work.For(inputs.Batch * inputs.Heads, 3 * ScanCost.Operations(inputs, settings),
            new SelfModifyingBackwardPiece(inputs, settings, chunkStates, upstream, gradients));
}
