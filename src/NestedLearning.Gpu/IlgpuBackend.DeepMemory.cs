namespace NestedLearning.Gpu;

// The one operation of the seam that has no kernels here yet.
internal sealed partial class IlgpuBackend
{
    public override void DeepMemoryForward(in DeepMemoryInputs inputs, DeepMemorySettings settings, in DeepMemoryOutputs outputs) =>
        throw NoDeepMemory();

    public override void DeepMemoryBackward(
        in DeepMemoryInputs inputs, DeepMemorySettings settings, in DeepMemorySaved saved, in DeepMemoryOutputGradients upstream, in DeepMemoryGradients gradients) =>
        throw NoDeepMemory();

    private NotSupportedException NoDeepMemory() => new($"Backend '{Name}' has no DeepMemory; use 'cpu' or 'managed'.");
}
