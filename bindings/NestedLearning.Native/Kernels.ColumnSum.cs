using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary>nl_column_sum_arguments.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ColumnSumArguments
{
    public uint Size;
    public int Reserved;
    public long Rows;
    public long Columns;
    public float* X;
    public float* Sums;
}

internal static unsafe partial class Kernels
{
    /// <summary>NL_COLUMN_BLOCK: columns of one piece.</summary>
    public const int ColumnBlock = 64;

    [LibraryImport(Library, EntryPoint = "nl_column_sum")]
    public static partial int ColumnSum(ColumnSumArguments* arguments, long begin, long end);
}
