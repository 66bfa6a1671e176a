using System.Runtime.InteropServices;

namespace NestedLearning.Gpu.Cuda;

// Structs and launches mirror native/kernels/elementwise/elementwise.cuh.
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct FillArguments
{
    public float* X;
    public long Count;
    public float Value;
    private readonly int _reserved;
}

internal static class ElementwiseKernels
{
    public const string File = "elementwise";

    public static readonly CudaKernel<FillArguments> Fill = new(File, "nl_fill");
}
