using System.Runtime.InteropServices;

namespace NestedLearning.Gpu.Cuda;

// Mirrors native/kernels/cross_entropy/cross_entropy.cuh.
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct CrossEntropyArguments
{
    public float* Logits;
    public int* Targets;
    public float* Losses, LogSums, DLosses, DLogits;
    public long Count, Classes;
    public float GradientScale;
    private readonly int _reserved;
}

internal static class CrossEntropyKernels
{
    public const string File = "cross_entropy";
    public const int Threads = 256;

    public static readonly CudaKernel<CrossEntropyArguments>
        Forward = new(File, "nl_cross_entropy_forward"),
        Backward = new(File, "nl_cross_entropy_backward"),
        WithGradient = new(File, "nl_cross_entropy_with_gradient");
}
