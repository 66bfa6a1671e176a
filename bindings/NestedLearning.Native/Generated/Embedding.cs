// Made by ./build.sh generate from native/include/nested_learning.h: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary><c>nl_embedding_arguments</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 72)]
internal unsafe partial struct EmbeddingArguments
{
    [FieldOffset(0)] public uint Size;
    [FieldOffset(4)] private readonly int _reserved;
    [FieldOffset(8)] public long Tokens;
    [FieldOffset(16)] public long Columns;
    [FieldOffset(24)] public long Rows;

    /// <summary>[tokens], each in 0..rows-1.</summary>
    [FieldOffset(32)] public int* Indices;

    /// <summary>[rows, columns]; forward.</summary>
    [FieldOffset(40)] public float* Table;

    /// <summary>[tokens, columns]; forward.</summary>
    [FieldOffset(48)] public float* Y;

    /// <summary>[tokens, columns]; backward.</summary>
    [FieldOffset(56)] public float* DY;

    /// <summary>[rows, columns], added to; backward.</summary>
    [FieldOffset(64)] public float* DTable;
}

internal static unsafe partial class Kernels
{
    /// <summary>y = the rows of the table that the indices name. Pieces are tokens.</summary>
    [LibraryImport(Library, EntryPoint = "nl_embedding_forward")]
    public static partial int EmbeddingForward(EmbeddingArguments* arguments, long begin, long end);

    /// <summary>
    /// The named rows of dtable += dy's rows, in the order of the tokens. Pieces are blocks of
    /// NL_COLUMN_BLOCK columns.
    /// </summary>
    [LibraryImport(Library, EntryPoint = "nl_embedding_backward")]
    public static partial int EmbeddingBackward(EmbeddingArguments* arguments, long begin, long end);
}
