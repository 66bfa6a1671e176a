// Made by ./build.sh generate from native/kernels/gemm_adam/gemm_adam.cuh: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Gpu.Cuda;

/// <summary>
/// <c>GemmAdamArguments</c>:
/// The step of a weight whose gradient is xᵀ dy, plus `g` where that is not null; w, m and v are [m, n].
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 144)]
internal unsafe partial struct GemmAdamArguments
{
    /// <summary>[k, m].</summary>
    [FieldOffset(0)] public float* X;

    /// <summary>[k, n].</summary>
    [FieldOffset(8)] public float* Dy;

    /// <summary>its blocks are not used; `clear` is for its g.</summary>
    [FieldOffset(16)] public AdamTensor Adam;
    [FieldOffset(128)] public int M;
    [FieldOffset(132)] public int N;
    [FieldOffset(136)] public int K;
    [FieldOffset(140)] private readonly int _reserved;
}
