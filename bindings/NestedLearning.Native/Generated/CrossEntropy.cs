// Made by ./build.sh generate from native/include/nested_learning.h: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary><c>nl_cross_entropy_arguments</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 72)]
internal unsafe partial struct CrossEntropyArguments
{
    [FieldOffset(0)] public uint Size;

    /// <summary>of nl_cross_entropy_with_gradient.</summary>
    [FieldOffset(4)] public float GradientScale;
    [FieldOffset(8)] public long Rows;
    [FieldOffset(16)] public long Columns;

    /// <summary>[rows, columns].</summary>
    [FieldOffset(24)] public float* Logits;

    /// <summary>[rows], each in 0..columns-1, or -1 for a row that does not count.</summary>
    [FieldOffset(32)] public int* Targets;

    /// <summary>[rows]; forward.</summary>
    [FieldOffset(40)] public float* Losses;

    /// <summary>[rows]; written forward, read backward; null when not wanted with the gradient.</summary>
    [FieldOffset(48)] public float* LogSums;

    /// <summary>[rows]; backward.</summary>
    [FieldOffset(56)] public float* DLosses;

    /// <summary>[rows, columns]; backward; may be logits.</summary>
    [FieldOffset(64)] public float* DLogits;
}

internal static unsafe partial class Kernels
{
    /// <summary>log_sums = log(sum exp logits); losses = log_sums - logits[target], 0 where the target is -1.</summary>
    [LibraryImport(Library, EntryPoint = "nl_cross_entropy_forward")]
    public static partial int CrossEntropyForward(CrossEntropyArguments* arguments, long begin, long end);

    /// <summary>dlogits = (exp(logits - log_sums) - onehot(target)) dlosses, 0 where the target is -1.</summary>
    [LibraryImport(Library, EntryPoint = "nl_cross_entropy_backward")]
    public static partial int CrossEntropyBackward(CrossEntropyArguments* arguments, long begin, long end);

    /// <summary>
    /// Both at once: losses, and dlogits = gradient_scale (softmax(logits) - onehot(target)), 0 where the target is -1. Needs
    /// a workspace of `columns` floats.
    /// </summary>
    [LibraryImport(Library, EntryPoint = "nl_cross_entropy_with_gradient")]
    public static partial int CrossEntropyWithGradient(CrossEntropyArguments* arguments, long begin, long end, float* workspace);
}
