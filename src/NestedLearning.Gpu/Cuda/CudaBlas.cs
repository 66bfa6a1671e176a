using ILGPU;
using ILGPU.Runtime.Cuda;

namespace NestedLearning.Gpu.Cuda;

/// <summary>
/// cuBLAS, by ILGPU.Algorithms, where its library is: large products of float32 or tf32 without an epilogue. A toolkit or
/// PyTorch brings it, a driver alone does not. NESTED_LEARNING_CUBLAS names a library in an unusual place; with <c>off</c> there
/// is none. It lives as long as the device's engine.
/// </summary>
internal sealed class CudaBlas(CudaAccelerator accelerator, CuBlas library)
{
    /// <summary>The environment variable.</summary>
    public const string Variable = "NESTED_LEARNING_CUBLAS";

    // A side below this is a tile or two, for which a call costs more than it wins. Not measured.
    private const int SmallestSide = 256;

    // CUBLAS_TF32_TENSOR_OP_MATH, which ILGPU's enumeration is older than.
    private const CuBlasMathMode TensorFloat32 = (CuBlasMathMode)3;

    private CuBlasMathMode _mode = library.MathMode;

    /// <summary>The library's, such as 12.2.5.</summary>
    public Version Version { get; } = new(library.Version / 10000, library.Version / 100 % 100, library.Version % 100);

    /// <summary>cuBLAS for a device, or why there is none.</summary>
    public static (CudaBlas? Blas, string? Fault) For(CudaAccelerator accelerator)
    {
        if (Environment.GetEnvironmentVariable(Variable) == "off")
            return (null, $"{Variable} is off");
        if (DriverLibrary.LoadBlas() is not { } version)
            return (null, "its library is not here");
        try
        {
            using var scope = accelerator.BindScoped();
            return (new CudaBlas(accelerator, new CuBlas(accelerator, version) { Stream = (CudaStream)accelerator.DefaultStream }), null);
        }
        catch (CuBlasException e)
        {
            return (null, $"it does not start ({e.Error})");
        }
    }

    /// <summary>Whether it is asked for a product of m × k by k × n.</summary>
    public static bool Suits(TensorCores rounding, int m, int n, int k) =>
        rounding != TensorCores.BFloat16 && Math.Min(m, Math.Min(n, k)) >= SmallestSide;

    /// <summary>
    /// Queues C ← op(A) op(B) + β C of row-major matrices on ILGPU's stream: a column-major Cᵀ = op(B)ᵀ op(A)ᵀ to cuBLAS.
    /// </summary>
    public void Gemm(
        TensorCores rounding, int m, int n, int k, ArrayView<float> a, bool transposeA, ArrayView<float> b, bool transposeB, float beta,
        ArrayView<float> c)
    {
        CuBlasMathMode mode = rounding == TensorCores.None ? CuBlasMathMode.DefaultMath : TensorFloat32;
        // A handle is one thread's at a time.
        lock (library)
        {
            using var scope = accelerator.BindScoped();
            if (_mode != mode)
                library.MathMode = mode;
            _mode = mode;
            library.Gemm(Operation(transposeB), Operation(transposeA), n, m, k, 1, b, transposeB ? k : n, a, transposeA ? m : k, beta, c,
                n);
        }
    }

    private static CuBlasOperation Operation(bool transpose) => transpose ? CuBlasOperation.Transpose : CuBlasOperation.NonTranspose;
}
