// Made by ./build.sh generate from native/include/nested_learning.h: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary><c>nl_ridge_arguments</c>: With N = features, rounded up to whole panels by rows that are zero.</summary>
[StructLayout(LayoutKind.Explicit, Size = 88)]
internal unsafe partial struct RidgeArguments
{
    [FieldOffset(0)] public uint Size;

    /// <summary>1 to NL_RIDGE_GROUP.</summary>
    [FieldOffset(4)] public int Samples;
    [FieldOffset(8)] public long Features;
    [FieldOffset(16)] public long Outputs;

    /// <summary>L: its panels' rows one after the other, N (N + NL_RIDGE_PANEL) / 2 numbers.</summary>
    [FieldOffset(24)] public double* Rows;

    /// <summary>[samples, N].</summary>
    [FieldOffset(32)] public double* X;

    /// <summary>[N, samples]: written by reading, c for writing.</summary>
    [FieldOffset(40)] public double* F;

    /// <summary>[N, samples].</summary>
    [FieldOffset(48)] public double* V;

    /// <summary>[samples, outputs]: written by reading.</summary>
    [FieldOffset(56)] public double* O;

    /// <summary>[samples, outputs].</summary>
    [FieldOffset(64)] public double* E;

    /// <summary>[features, outputs].</summary>
    [FieldOffset(72)] public float* W;

    /// <summary>[features, outputs]: what w lacks of the sum in float64.</summary>
    [FieldOffset(80)] public float* WLow;
}

internal static unsafe partial class Kernels
{
    /// <summary><c>NL_RIDGE_PANEL</c>: Rows of a panel of L: each is as long as the panel's last, zero above the diagonal.</summary>
    public const int RidgePanel = 8;

    /// <summary><c>NL_RIDGE_GROUP</c>: The most samples of a group.</summary>
    public const int RidgeGroup = 8;

    /// <summary><c>NL_RIDGE_ROWS</c>: Pieces that read L are blocks of so many rows.</summary>
    public const int RidgeRows = 32;

    /// <summary>
    /// <c>NL_RIDGE_COLUMNS</c>:
    /// Pieces that read W are blocks of so many outputs, pieces that write of so many columns of L.
    /// </summary>
    public const int RidgeColumns = 64;

    /// <summary>f_j = L_j x of each sample. Pieces are blocks of NL_RIDGE_ROWS rows.</summary>
    [LibraryImport(Library, EntryPoint = "nl_ridge_read_rows")]
    public static partial int RidgeReadRows(RidgeArguments* arguments, long begin, long end);

    /// <summary>o = x (w + w_low). Pieces are blocks of NL_RIDGE_COLUMNS outputs.</summary>
    [LibraryImport(Library, EntryPoint = "nl_ridge_read_outputs")]
    public static partial int RidgeReadOutputs(RidgeArguments* arguments, long begin, long end);

    /// <summary>
    /// From K = 0, for each row j and sample: L_j -= c_j K, K += v_j L_j (the row before); then
    /// w + w_low += K e, in as many rows. Pieces are blocks of NL_RIDGE_COLUMNS columns of L.
    /// </summary>
    [LibraryImport(Library, EntryPoint = "nl_ridge_write")]
    public static partial int RidgeWrite(RidgeArguments* arguments, long begin, long end);
}
