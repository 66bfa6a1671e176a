namespace NestedLearning.Testing;

/// <summary>The largest relative errors an operation may show against its float64 reference.</summary>
/// <param name="Forward">Of results.</param>
/// <param name="Gradient">Of gradients.</param>
public readonly record struct Tolerance(double Forward, double Gradient);

/// <summary>
/// The one table of tolerances, for every backend. Errors are
/// <see cref="Compare.RelativeError(ReadOnlySpan{float}, ReadOnlySpan{double})"/>. Changing a number here is a change of its own, with its
/// reason.
/// </summary>
public static class Tolerances
{
    /// <summary>
    /// The one rule of subnormal numbers, 2⁻¹²⁶: where the processor or a kernel flushes them, a result below it is zero and a
    /// subnormal input counts as zero. An absolute floor of this size stands under every tolerance.
    /// </summary>
    public const double LeastNormal = 1.1754943508222875e-38;

    /// <summary>Golden cases of every operation, which <c>nl check</c> is held to as well.</summary>
    public static readonly Tolerance Golden = new(5e-5, 2e-4);

    // The three scans: about three times the worst error over the suites' cases of the managed float32 kernels, which
    // long chunks without decay and a large η give.

    public static readonly Tolerance Scan = new(3e-6, 1.5e-5);

    public static readonly Tolerance ScanFrozen = new(3e-6, 1.5e-5);

    // The worst gradient, 7.5e-6, is that of M_η's start where one token of its chunk is left: small beside its terms.
    public static readonly Tolerance SelfModifying = new(6e-6, 2.2e-5);

    /// <summary>Self-modifying memories composed of recorded operations: a rounding for each of some ten operations a chunk.</summary>
    public static readonly Tolerance ComposedMemories = new(1e-5, 3e-5);

    public static readonly Tolerance DeepMemory = new(6e-6, 2e-5);

    public static readonly Tolerance Gemm = new(1e-5, 2e-5);

    /// <summary>
    /// Products of operands rounded to bfloat16 against those of the operands as they were, relative to the sum of the
    /// terms' absolute values: half a unit of eight significant bits, 2⁻⁹, for either factor of a term. Against the
    /// rounded operands they are held to <see cref="Gemm"/>.
    /// </summary>
    public const double BFloat16 = 3.92e-3;

    /// <summary>
    /// A step multiplies what lies along small singular values by up to 3.4445, rounding errors too: 485 times in five steps.
    /// </summary>
    public static readonly Tolerance NewtonSchulz = new(3e-5, 3e-5);

    public static readonly Tolerance ColumnSum = new(1e-5, 1e-5);

    public static readonly Tolerance Norm = new(1e-5, 2e-5);

    public static readonly Tolerance Convolution = new(1e-5, 2e-5);

    public static readonly Tolerance Activation = new(2e-6, 5e-6);

    /// <summary>Element-wise sums and products: one rounding or two.</summary>
    public static readonly Tolerance Elementwise = new(5e-7, 5e-7);

    /// <summary>Accumulated in double: up to 2¹⁸ roundings of 1e−16, most of which cancel.</summary>
    public const double SumOfSquares = 1e-12;

    /// <summary>A copy forward; a sum of rows backward.</summary>
    public static readonly Tolerance Embedding = new(0, 5e-6);

    public static readonly Tolerance CrossEntropy = new(1e-5, 1e-5);

    public static readonly Tolerance Optimizer = new(1e-5, 1e-5);

    /// <summary>Golden steps of Adam: a few roundings in float32, with 1 − β formed in double.</summary>
    public const double GoldenAdam = 3e-7;

    /// <summary>Computed in float64 and rounded once to float32: half a unit of 24 bits, and what factors of float64 lose.</summary>
    public static readonly Tolerance Ridge = new(1e-7, 1e-7);

    /// <summary>In float64 within a call, and rounded once.</summary>
    public static readonly Tolerance Mixture = new(1e-7, 1e-7);

    public static readonly Tolerance Attention = new(2e-5, 5e-5);

    /// <summary>Gradients derived by hand in double against finite differences in double.</summary>
    public const double FiniteDifference = 1e-8;
}
