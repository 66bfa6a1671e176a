namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>The associative-memory scan of docs/specification.md, section 1. See <see cref="ScanInputs"/> for shapes.</summary>
    public abstract void ScanForward(in ScanInputs inputs, ScanSettings settings, in ScanOutputs outputs);

    /// <summary>
    /// Its gradient, from the chunk-start states that <see cref="ScanForward"/> saved. O(T / chunk) states are kept;
    /// everything inside a chunk is computed again.
    /// </summary>
    public abstract void ScanBackward(in ScanInputs inputs, ScanSettings settings, in ScanSaved saved, in ScanOutputGradients upstream, in ScanGradients gradients);

    /// <summary>The self-modifying memories: docs/specification.md, section 6. See <see cref="SelfModifyingInputs"/> for shapes.</summary>
    public abstract void SelfModifyingForward(in SelfModifyingInputs inputs, SelfModifyingSettings settings, in SelfModifyingOutputs outputs);

    /// <summary>Its gradient through every write, from the chunk-start states that the forward pass saved.</summary>
    /// <param name="inputs">As given to the forward pass.</param>
    /// <param name="settings">As given to the forward pass.</param>
    /// <param name="chunkStates">[B, H, chunks, D, 3D + 2], as saved by the forward pass.</param>
    /// <param name="upstream">The gradients that arrive at the results.</param>
    /// <param name="gradients">Where the results go.</param>
    public abstract void SelfModifyingBackward(in SelfModifyingInputs inputs, SelfModifyingSettings settings, Tensor chunkStates, in SelfModifyingOutputGradients upstream, in SelfModifyingGradients gradients);
}
