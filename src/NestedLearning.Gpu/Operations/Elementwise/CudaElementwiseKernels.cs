using System.Runtime.InteropServices;

namespace NestedLearning.Gpu.Cuda;

// Mirrors native/kernels/elementwise/elementwise.cuh.
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ElementwiseArguments
{
    public float* X, Y, Z;
    public long Count;
    public float Factor;
    public int Function;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct SumArguments
{
    public float* X;
    public double* Parts, Result;
    public long Count;
}

internal static class ElementwiseKernels
{
    public const string File = "elementwise";
    public const int Threads = 256;

    public static readonly CudaKernel<ElementwiseArguments>
        Fill = new(File, "nl_fill"),
        AddScaled = new(File, "nl_add_scaled"),
        Multiply = new(File, "nl_multiply"),
        Scale = new(File, "nl_scale"),
        ActivationForward = new(File, "nl_activation_forward"),
        ActivationBackward = new(File, "nl_activation_backward");

    public static readonly CudaKernel<SumArguments>
        SumOfSquares = new(File, "nl_sum_of_squares"),
        SumOfParts = new(File, "nl_sum_of_parts");
}
