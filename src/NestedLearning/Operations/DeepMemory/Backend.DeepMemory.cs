namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>The deep memory: docs/specification.md, section 2. <see cref="DeepMemoryInputs"/> has the equations and shapes.</summary>
    public abstract void DeepMemoryForward(in DeepMemoryInputs inputs, DeepMemorySettings settings, in DeepMemoryOutputs outputs);

    /// <summary>
    /// Its gradient through every write, from the states that <see cref="DeepMemoryForward"/> saved; everything inside a chunk
    /// is computed again.
    /// </summary>
    public abstract void DeepMemoryBackward(in DeepMemoryInputs inputs, DeepMemorySettings settings, in DeepMemorySaved saved,
        in DeepMemoryOutputGradients upstream, in DeepMemoryGradients gradients);
}
