namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>The associative-memory scan of docs/specification.md, section 1. See <see cref="ScanInputs"/> for shapes.</summary>
    public abstract void ScanForward(in ScanInputs inputs, ScanSettings settings, in ScanOutputs outputs);

    /// <summary>
    /// Its gradient, from the chunk-start states that <see cref="ScanForward"/> saved. O(T / chunk) states are kept;
    /// everything inside a chunk is computed again.
    /// </summary>
    public abstract void ScanBackward(in ScanInputs inputs, ScanSettings settings, in ScanSaved saved, in ScanOutputGradients upstream,
        in ScanGradients gradients);
}
