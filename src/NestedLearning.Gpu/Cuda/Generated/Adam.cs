// Made by ./build.sh generate from native/kernels/adam/adam.cuh: do not edit.
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace NestedLearning.Gpu.Cuda;

/// <summary>
/// <c>AdamConstants</c>:
/// A step's constants, as AdamStep of adam-inl.h, worked out in double on the host. ILGPU's kernels take them too.
/// </summary>
[StructLayout(LayoutKind.Sequential)]
internal partial struct AdamConstants
{
    /// <summary>of the random bits that round bfloat16.</summary>
    public ulong Seed;

    /// <summary>of the random bits that round bfloat16.</summary>
    public ulong Step;
    public float Beta1;
    public float Rest1;
    public float Beta2;
    public float Rest2;
    public float Rate;
    public float RootScale;
    public float L2;
    public float Decay;
    public float Epsilon;
    public float GradientScale;

    /// <summary>whether m and v are.</summary>
    public int BFloat16;

    /// <summary>whether g becomes 0.</summary>
    public int Clear;
}

/// <summary><c>AdamTensor</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 112)]
internal unsafe partial struct AdamTensor
{
    /// <summary>[count].</summary>
    [FieldOffset(0)] public float* W;
    [FieldOffset(8)] public float* G;

    /// <summary>float32 or bfloat16.</summary>
    [FieldOffset(16)] public void* M;
    [FieldOffset(24)] public void* V;
    [FieldOffset(32)] public long Count;
    [FieldOffset(40)] public AdamConstants Constants;
    [FieldOffset(104)] public int FirstBlock;
    [FieldOffset(108)] public int Blocks;
}

/// <summary>As many AdamTensor as tensors holds.</summary>
[InlineArray(AdamKernels.Tensors)]
internal struct AdamTensorArray
{
    private AdamTensor _first;
}

/// <summary><c>AdamArguments</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 3608)]
internal unsafe partial struct AdamArguments
{
    /// <summary>in the order of their first blocks; count of them are there.</summary>
    [FieldOffset(0)] public AdamTensorArray Tensors;

    /// <summary>[blocks, 2]: sums of squares of the changes and of the old weights; null: not wanted.</summary>
    [FieldOffset(3584)] public double* Parts;

    /// <summary>[count, 2].</summary>
    [FieldOffset(3592)] public double* Changes;
    [FieldOffset(3600)] public int Count;
    [FieldOffset(3604)] private readonly int _reserved;
}

internal static partial class AdamKernels
{
    /// <summary><c>kAdamThreads</c>.</summary>
    public const int Threads = 256;

    /// <summary><c>kAdamTensors</c>: As many as the 4096 bytes of a launch's arguments take.</summary>
    public const int Tensors = 32;
}
