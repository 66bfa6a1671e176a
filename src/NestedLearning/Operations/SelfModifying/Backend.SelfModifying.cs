namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>The self-modifying memories: docs/specification.md, section 6. See <see cref="SelfModifyingInputs"/> for shapes.</summary>
    public abstract void SelfModifyingForward(in SelfModifyingInputs inputs, SelfModifyingSettings settings,
        in SelfModifyingOutputs outputs);

    /// <summary>Its gradient through every write, from the chunk-start states that the forward pass saved.</summary>
    /// <param name="inputs">As given to the forward pass.</param>
    /// <param name="settings">As given to the forward pass.</param>
    /// <param name="chunkStates">[B, H, chunks, D, 3D + 2], as saved by the forward pass.</param>
    /// <param name="upstream">The gradients that arrive at the results.</param>
    /// <param name="gradients">Where the results go.</param>
    public abstract void SelfModifyingBackward(in SelfModifyingInputs inputs, SelfModifyingSettings settings, Tensor chunkStates,
        in SelfModifyingOutputGradients upstream, in SelfModifyingGradients gradients);
}
