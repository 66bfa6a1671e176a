namespace NestedLearning.Operations;

/// <summary>A matrix in memory, float or double, read through two strides counted in elements; null where a tensor is not given.</summary>
internal readonly unsafe struct Rows<T>(T* start, nint stride, nint columnStride = 1)
    where T : unmanaged
{
    public T* Start => start;

    public nint Stride => stride;

    public nint ColumnStride => columnStride;

    public bool IsNull => start == null;

    public Rows<T> Transposed => new(start, columnStride, stride);

    public T* this[nint row] => start + row * stride;

    /// <summary>The matrix without its first rows and columns.</summary>
    public Rows<T> From(nint row, int column = 0) =>
        start == null ? this : new(start + row * stride + column * columnStride, stride, columnStride);
}
