namespace NestedLearning;

/// <summary>Elements in host memory, 64-byte aligned, outside the garbage collector's heap.</summary>
public sealed unsafe class HostStorage : TensorStorage
{
    private readonly HostMemoryPool? _pool;
    private readonly HostStorage? _whole;
    private readonly HostBlock? _block;
    private float* _pointer;

    // Of a whole: the elements that some storage has.
    private int _taken;

    internal HostStorage(HostMemoryPool pool, int length)
    {
        _pool = pool;
        _taken = Length = length;
        _block = pool.Take(length);
        _pointer = _block.Pointer;
    }

    // A part of another storage, which it keeps alive.
    private HostStorage(HostStorage whole, int start, int length)
    {
        whole.AddReference();
        _whole = whole;
        Length = length;
        _pointer = whole.Pointer + start;
    }

    /// <inheritdoc/>
    public override int Length { get; }

    /// <summary>The address of the first element.</summary>
    /// <exception cref="ObjectDisposedException">The memory was given back.</exception>
    public float* Pointer
    {
        get
        {
            float* pointer = _pointer;
            ObjectDisposedException.ThrowIf(pointer == null, this);
            return pointer;
        }
    }

    /// <inheritdoc/>
    public override TensorStorage Part(int start, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, Length - start);
        return new HostStorage(this, start, length);
    }

    /// <inheritdoc/>
    internal override TensorStorage? Extend(int length)
    {
        HostStorage root = this;
        while (root._whole is { } whole)
            root = whole;
        // The pool's memory is a power of two long.
        bool fits = Pointer == root.Pointer && length >= Length && length <= 1L << root._block!.Bucket;
        return fits && Interlocked.CompareExchange(ref root._taken, length, Length) == Length ? new HostStorage(root, 0, length) : null;
    }

    /// <inheritdoc/>
    protected override void Free()
    {
        _pointer = null;
        _whole?.Release();
        if (_block is not null)
            _pool!.Return(_block);
    }
}
