using System.Numerics;

namespace NestedLearning.Operations;

/// <summary>
/// Hands out consecutive parts of a block, float or double, 64-byte aligned if the block is. Over a null block it only measures, so
/// that a workspace's layout is written once.
/// </summary>
internal unsafe struct ScratchArena<T>(T* block)
    where T : unmanaged, IFloatingPointIeee754<T>
{
    private static int Line => 64 / sizeof(T);

    /// <summary>Elements handed out so far.</summary>
    public nint Length { get; private set; }

    /// <summary>Room for a vector, undefined contents.</summary>
    public T* Vector(nint length)
    {
        T* part = block + Length;
        Length += (length + Line - 1) / Line * Line;
        return part;
    }

    /// <summary>Room for a contiguous matrix, undefined contents.</summary>
    public Rows<T> Matrix(int rows, int columns) => new(Vector(checked(rows * columns)), columns);
}
