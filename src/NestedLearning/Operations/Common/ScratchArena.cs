namespace NestedLearning.Operations;

/// <summary>
/// Hands out consecutive, 64-byte aligned parts of a block. Over a null block it only measures, so that a workspace's
/// layout is written once.
/// </summary>
internal unsafe struct ScratchArena(float* block)
{
    private const int Alignment = 64 / sizeof(float);

    /// <summary>Floats handed out so far.</summary>
    public nint Length { get; private set; }

    /// <summary>Room for a vector, undefined contents.</summary>
    public float* Vector(int length)
    {
        float* part = block + Length;
        Length += ((nint)length + Alignment - 1) / Alignment * Alignment;
        return part;
    }

    /// <summary>Room for a contiguous matrix, undefined contents.</summary>
    public MatrixView Matrix(int rows, int columns) => new(Vector(checked(rows * columns)), columns);
}
