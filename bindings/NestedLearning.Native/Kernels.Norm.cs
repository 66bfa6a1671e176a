using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary>nl_norm_arguments.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct NormArguments
{
    public uint Size;
    public int Kind;
    public long Rows;
    public long Columns;
    public float Epsilon;
    public int Reserved;
    public float* X;
    public float* Gain;
    public float* Bias;
    public float* Y;
    public float* Dy;
    public float* Dx;
    public float* DGain;
    public float* DBias;
}

internal static unsafe partial class Kernels
{
    /// <summary>NL_NORM_BLOCK: rows of one piece of the backward pass.</summary>
    public const int NormBlock = 32;

    [LibraryImport(Library, EntryPoint = "nl_norm_forward")]
    public static partial int NormForward(NormArguments* arguments, long begin, long end);

    [LibraryImport(Library, EntryPoint = "nl_norm_backward")]
    public static partial int NormBackward(NormArguments* arguments, long begin, long end);
}
