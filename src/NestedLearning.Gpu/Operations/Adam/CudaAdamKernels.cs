using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu.Cuda;

// Mirrors native/kernels/adam/adam.cuh.
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct AdamTensor
{
    public float* W, G;
    public void* M, V;
    public long Count;
    public AdamConstants Constants;
    public int FirstBlock, Blocks;
}

[InlineArray(AdamKernels.Tensors)]
internal struct AdamTensorArray
{
    private AdamTensor _first;
}

[StructLayout(LayoutKind.Sequential)]
internal unsafe struct AdamArguments
{
    public AdamTensorArray Tensors;
    public double* Parts, Changes;
    public int Count;
    private readonly int _reserved;
}

internal static class AdamKernels
{
    public const string File = "adam";
    public const int Threads = 256, Tensors = 32;

    public static readonly CudaKernel<AdamArguments>
        Commit = new(File, "nl_adam_commit"),
        Changes = new(File, "nl_adam_changes");
}
