// Made by ./build.sh generate from native/kernels/cross_entropy/cross_entropy.cuh: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Gpu.Cuda;

/// <summary><c>CrossEntropyArguments</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 72)]
internal unsafe partial struct CrossEntropyArguments
{
    /// <summary>[count, classes].</summary>
    [FieldOffset(0)] public float* Logits;

    /// <summary>[count], −1 for a row that takes no part.</summary>
    [FieldOffset(8)] public int* Targets;

    /// <summary>[count].</summary>
    [FieldOffset(16)] public float* Losses;

    /// <summary>[count]; nl_cross_entropy_with_gradient does not use it.</summary>
    [FieldOffset(24)] public float* LogSums;

    /// <summary>[count]; backward alone.</summary>
    [FieldOffset(32)] public float* DLosses;

    /// <summary>[count, classes], may be logits.</summary>
    [FieldOffset(40)] public float* DLogits;
    [FieldOffset(48)] public long Count;
    [FieldOffset(56)] public long Classes;

    /// <summary>for each d_loss, with the gradient.</summary>
    [FieldOffset(64)] public float GradientScale;
    [FieldOffset(68)] private readonly int _reserved;
}

internal static partial class CrossEntropyKernels
{
    /// <summary><c>kCrossEntropyThreads</c>.</summary>
    public const int Threads = 256;
}
