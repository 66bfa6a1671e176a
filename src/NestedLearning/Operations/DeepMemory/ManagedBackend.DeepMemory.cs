namespace NestedLearning;

internal sealed partial class ManagedBackend
{
    public override void DeepMemoryForward(in DeepMemoryInputs inputs, DeepMemorySettings settings, in DeepMemoryOutputs outputs) =>
        Work.For(inputs.Batch * inputs.Heads, ScanCost.Operations(inputs, settings), new DeepMemoryForwardPiece(inputs, settings, outputs));

    public override void DeepMemoryBackward(in DeepMemoryInputs inputs, DeepMemorySettings settings, in DeepMemorySaved saved,
        in DeepMemoryOutputGradients upstream, in DeepMemoryGradients gradients) =>
        Work.For(inputs.Batch * inputs.Heads, 3 * ScanCost.Operations(inputs, settings),
            new DeepMemoryBackwardPiece(inputs, settings, saved, upstream, gradients));
}
