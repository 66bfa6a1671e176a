namespace NestedLearning.Operations;

/// <summary>What is done to a product before it is stored.</summary>
public enum Epilogue
{
    /// <summary>Nothing.</summary>
    None = Native.Epilogue.None,

    /// <summary>GELU with erf: φ(z) = z Φ(z).</summary>
    Gelu = Native.Epilogue.Gelu,

    /// <summary>The product times φ'(z), with z read from <see cref="GemmArguments.PreActivation"/>: GELU's backward pass.</summary>
    GeluGradient = Native.Epilogue.GeluGradient,
}

/// <summary>What the operands of a product are rounded to before they are multiplied. Sums are float32 in any case.</summary>
public enum GemmPrecision
{
    /// <summary>Nothing: they are float32.</summary>
    Float32 = Native.Precision.Float32,

    /// <summary>
    /// bfloat16, to nearest even: eight significant bits, so each term is off by up to 2⁻⁷ of itself. It gives the
    /// results of hardware with bfloat16 products everywhere; it is not faster on processors without them.
    /// </summary>
    BFloat16 = Native.Precision.BFloat16,
}

/// <summary>
/// C = epilogue(op(A) op(B) + bias) + scale · residual, or that added to C. A, B and C are matrices when every axis but the
/// innermost is flattened; op is the identity or the transpose.
/// </summary>
public readonly record struct GemmArguments
{
    /// <summary>A product with nothing around it.</summary>
    public GemmArguments()
    {
    }

    /// <summary>[M, K], or [K, M] with <see cref="TransposeA"/>.</summary>
    public required Tensor A { get; init; }

    /// <summary>[K, N], or [N, K] with <see cref="TransposeB"/>.</summary>
    public required Tensor B { get; init; }

    /// <summary>[M, N].</summary>
    public required Tensor C { get; init; }

    /// <summary>Whether A is used as its transpose.</summary>
    public bool TransposeA { get; init; }

    /// <summary>Whether B is used as its transpose.</summary>
    public bool TransposeB { get; init; }

    /// <summary>[N], or null.</summary>
    public Tensor? Bias { get; init; }

    /// <summary>What is done before the residual is added.</summary>
    public Epilogue Epilogue { get; init; }

    /// <summary>
    /// [M, N]: with <see cref="Epilogue.Gelu"/> an output, z = AB + bias (null: not wanted); with <see cref="Epilogue.GeluGradient"/> an
    /// input.
    /// </summary>
    public Tensor? PreActivation { get; init; }

    /// <summary>[M, N], added last, or null. May be C itself.</summary>
    public Tensor? Residual { get; init; }

    /// <summary>What the residual is multiplied by; 1 unless set.</summary>
    public float ResidualScale { get; init; } = 1;

    /// <summary>What A and B are rounded to.</summary>
    public GemmPrecision Precision { get; init; }

    /// <summary>
    /// A promise that C is symmetric, a residual or what it is added to with it: half of it may be computed and mirrored.
    /// M = N; without bias and epilogue.
    /// </summary>
    public bool Symmetric { get; init; }

    /// <summary>Whether the result is added to C instead of written. Not together with a residual.</summary>
    public bool Accumulate { get; init; }

    /// <summary>M.</summary>
    public int M => TransposeA ? A.Shape.Last : A.Shape.Rows;

    /// <summary>N.</summary>
    public int N => TransposeB ? B.Shape.Rows : B.Shape.Last;

    /// <summary>K.</summary>
    public int K => TransposeA ? A.Shape.Rows : A.Shape.Last;
}
