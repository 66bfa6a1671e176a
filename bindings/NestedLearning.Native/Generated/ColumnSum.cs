// Made by ./build.sh generate from native/include/nested_learning.h: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary><c>nl_column_sum_arguments</c>: sums [columns] += the sums over the rows of x [rows, columns].</summary>
[StructLayout(LayoutKind.Explicit, Size = 40)]
internal unsafe partial struct ColumnSumArguments
{
    [FieldOffset(0)] public uint Size;
    [FieldOffset(4)] private readonly int _reserved;
    [FieldOffset(8)] public long Rows;
    [FieldOffset(16)] public long Columns;
    [FieldOffset(24)] public float* X;
    [FieldOffset(32)] public float* Sums;
}

internal static unsafe partial class Kernels
{
    /// <summary><c>NL_COLUMN_BLOCK</c>: Columns of one piece.</summary>
    public const int ColumnBlock = 64;

    [LibraryImport(Library, EntryPoint = "nl_column_sum")]
    public static partial int ColumnSum(ColumnSumArguments* arguments, long begin, long end);
}
