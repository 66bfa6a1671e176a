namespace NestedLearning;

internal sealed partial class ManagedBackend
{
    public override void SelfModifyingForward(in SelfModifyingInputs inputs, SelfModifyingSettings settings, in SelfModifyingOutputs outputs) =>
        Work.For(inputs.Batch * inputs.Heads, SelfModifyingOperations(inputs, settings), new SelfModifyingForwardPiece(inputs, settings, outputs));

    public override void SelfModifyingBackward(in SelfModifyingInputs inputs, SelfModifyingSettings settings, Tensor chunkStates, Tensor dOutput, Tensor? dState, in SelfModifyingGradients gradients) =>
        Work.For(inputs.Batch * inputs.Heads, 3 * SelfModifyingOperations(inputs, settings), new SelfModifyingBackwardPiece(inputs, settings, chunkStates, dOutput, dState, gradients));

    // Per token: the projections, the writes' and the state's products over all columns, the read, and the chunk's inside.
    private static long SelfModifyingOperations(in SelfModifyingInputs inputs, SelfModifyingSettings settings)
    {
        long tokens = (long)inputs.Batch * inputs.Time * inputs.Heads;
        return tokens * 2 * (9L * inputs.Dim * inputs.Dim + 3L * Math.Min(settings.Chunk, inputs.Time) * inputs.Dim);
    }
}
