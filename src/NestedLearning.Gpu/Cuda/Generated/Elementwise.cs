// Made by ./build.sh generate from native/kernels/elementwise/elementwise.cuh: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Gpu.Cuda;

/// <summary><c>ElementwiseArguments</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 40)]
internal unsafe partial struct ElementwiseArguments
{
    [FieldOffset(0)] public float* X;
    [FieldOffset(8)] public float* Y;
    [FieldOffset(16)] public float* Z;
    [FieldOffset(24)] public long Count;
    [FieldOffset(32)] public float Factor;
    [FieldOffset(36)] public int Function;
}

/// <summary><c>SumArguments</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 32)]
internal unsafe partial struct SumArguments
{
    [FieldOffset(0)] public float* X;

    /// <summary>[blocks of nl_sum_of_squares].</summary>
    [FieldOffset(8)] public double* Parts;

    /// <summary>[1].</summary>
    [FieldOffset(16)] public double* Result;

    /// <summary>of x, or of parts.</summary>
    [FieldOffset(24)] public long Count;
}

internal static partial class ElementwiseKernels
{
    /// <summary><c>kElementwiseThreads</c>.</summary>
    public const int Threads = 256;
}
