namespace NestedLearning;

internal sealed partial class CpuBackend
{
    public override void ScanForward(in ScanInputs inputs, ScanSettings settings, in ScanOutputs outputs) => throw new NotImplementedException();

    public override void ScanBackward(in ScanInputs inputs, ScanSettings settings, in ScanSaved saved, in ScanOutputGradients upstream, in ScanGradients gradients) => throw new NotImplementedException();

    public override void SelfModifyingForward(in SelfModifyingInputs inputs, SelfModifyingSettings settings, in SelfModifyingOutputs outputs) => throw new NotImplementedException();

    public override void SelfModifyingBackward(in SelfModifyingInputs inputs, SelfModifyingSettings settings, Tensor chunkStates, Tensor dOutput, Tensor? dState, in SelfModifyingGradients gradients) => throw new NotImplementedException();
}
