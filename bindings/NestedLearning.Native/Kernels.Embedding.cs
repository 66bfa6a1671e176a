using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary>nl_embedding_arguments.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct EmbeddingArguments
{
    public uint Size;
    public int Reserved;
    public long Tokens;
    public long Columns;
    public long Rows;
    public int* Indices;
    public float* Table;
    public float* Y;
    public float* Dy;
    public float* DTable;
}

internal static unsafe partial class Kernels
{
    [LibraryImport(Library, EntryPoint = "nl_embedding_forward")]
    public static partial int EmbeddingForward(EmbeddingArguments* arguments, long begin, long end);

    [LibraryImport(Library, EntryPoint = "nl_embedding_backward")]
    public static partial int EmbeddingBackward(EmbeddingArguments* arguments, long begin, long end);
}
