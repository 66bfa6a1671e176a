using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary>nl_cross_entropy_arguments.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct CrossEntropyArguments
{
    public uint Size;
    public float GradientScale;
    public long Rows;
    public long Columns;
    public float* Logits;
    public int* Targets;
    public float* Losses;
    public float* LogSums;
    public float* DLosses;
    public float* DLogits;
}

internal static unsafe partial class Kernels
{
    [LibraryImport(Library, EntryPoint = "nl_cross_entropy_forward")]
    public static partial int CrossEntropyForward(CrossEntropyArguments* arguments, long begin, long end);

    [LibraryImport(Library, EntryPoint = "nl_cross_entropy_backward")]
    public static partial int CrossEntropyBackward(CrossEntropyArguments* arguments, long begin, long end);

    [LibraryImport(Library, EntryPoint = "nl_cross_entropy_with_gradient")]
    public static partial int CrossEntropyWithGradient(CrossEntropyArguments* arguments, long begin, long end, float* workspace);
}
