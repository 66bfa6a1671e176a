namespace NestedLearning.Operations;

/// <summary>How a row x of D elements is normalised.</summary>
public enum NormKind
{
    /// <summary>y = g ∘ x / √(Σx²/D + ε).</summary>
    Rms = Native.NormKind.Rms,

    /// <summary>y = g ∘ (x − mean) / √(variance + ε) + b.</summary>
    Layer = Native.NormKind.Layer,

    /// <summary>y = x / √(Σx² + ε²); no gain, no bias.</summary>
    L2 = Native.NormKind.L2,
}
