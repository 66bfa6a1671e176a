namespace NestedLearning;

internal sealed unsafe partial class CpuBackend
{
    public override void DeepMemoryForward(in DeepMemoryInputs inputs, DeepMemorySettings settings, in DeepMemoryOutputs outputs) => throw new NotSupportedException();

    public override void DeepMemoryBackward(in DeepMemoryInputs inputs, DeepMemorySettings settings, in DeepMemorySaved saved, in DeepMemoryOutputGradients upstream, in DeepMemoryGradients gradients) => throw new NotSupportedException();
}
