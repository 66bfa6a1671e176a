namespace NestedLearning;

/// <summary>
/// To what the operands of products may be rounded where a device has units for it (tensor cores). Sums are in float32
/// throughout, and so are the tensors. A permission: a kernel without such a form computes in float32.
/// </summary>
public enum TensorCores
{
    /// <summary>Nothing is rounded.</summary>
    None,

    /// <summary>TF32, to the nearest: 11 significant bits, so each term of a product is off by up to 2⁻¹⁰ of itself.</summary>
    TensorFloat32,

    /// <summary>bfloat16, to nearest even: 8 significant bits, so each term of a product is off by up to 2⁻⁷ of itself.</summary>
    BFloat16,
}
