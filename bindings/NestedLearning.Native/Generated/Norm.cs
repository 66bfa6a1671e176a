// Made by ./build.sh generate from native/include/nested_learning.h: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary><c>nl_norm_kind</c>.</summary>
internal static partial class NormKind
{
    /// <summary><c>NL_NORM_RMS</c>: gain x / sqrt(sum x^2 / columns + epsilon).</summary>
    public const int Rms = 0;

    /// <summary><c>NL_NORM_LAYER</c>: gain (x - mean) / sqrt(variance + epsilon) + bias.</summary>
    public const int Layer = 1;

    /// <summary><c>NL_NORM_L2</c>: x / sqrt(sum x^2 + epsilon^2).</summary>
    public const int L2 = 2;
}

/// <summary><c>nl_norm_arguments</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 96)]
internal unsafe partial struct NormArguments
{
    [FieldOffset(0)] public uint Size;

    /// <summary>enum nl_norm_kind.</summary>
    [FieldOffset(4)] public int Kind;
    [FieldOffset(8)] public long Rows;
    [FieldOffset(16)] public long Columns;
    [FieldOffset(24)] public float Epsilon;
    [FieldOffset(28)] private readonly int _reserved;

    /// <summary>[rows, columns].</summary>
    [FieldOffset(32)] public float* X;

    /// <summary>[columns], or null for 1.</summary>
    [FieldOffset(40)] public float* Gain;

    /// <summary>[columns], or null for 0.</summary>
    [FieldOffset(48)] public float* Bias;

    /// <summary>[rows, columns]; forward.</summary>
    [FieldOffset(56)] public float* Y;

    /// <summary>[rows, columns]; backward, as all that follows.</summary>
    [FieldOffset(64)] public float* DY;

    /// <summary>[rows, columns], or null; may be dy.</summary>
    [FieldOffset(72)] public float* DX;

    /// <summary>[blocks, columns], or null: the sums over each block's rows, written.</summary>
    [FieldOffset(80)] public float* DGain;

    /// <summary>[blocks, columns], or null.</summary>
    [FieldOffset(88)] public float* DBias;
}

internal static unsafe partial class Kernels
{
    /// <summary>Pieces are rows. y may be x.</summary>
    [LibraryImport(Library, EntryPoint = "nl_norm_forward")]
    public static partial int NormForward(NormArguments* arguments, long begin, long end);

    /// <summary><c>NL_NORM_BLOCK</c>: Rows of one piece of the backward pass.</summary>
    public const int NormBlock = 32;

    /// <summary>Pieces are blocks of NL_NORM_BLOCK rows; nl_column_sum adds their dgain and dbias together.</summary>
    [LibraryImport(Library, EntryPoint = "nl_norm_backward")]
    public static partial int NormBackward(NormArguments* arguments, long begin, long end);
}
