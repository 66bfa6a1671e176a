using System.Collections.Concurrent;
using System.Numerics;
using System.Runtime.InteropServices;

namespace NestedLearning;

/// <summary>Elements in host memory, 64-byte aligned, outside the garbage collector's heap.</summary>
public sealed unsafe class HostStorage : TensorStorage
{
    private readonly HostMemoryPool? _pool;
    private readonly HostStorage? _whole;
    private readonly int _bucket;
    private float* _pointer;

    // Of a whole: the elements that some storage has.
    private int _taken;

    internal HostStorage(HostMemoryPool pool, int length)
    {
        _pool = pool;
        _taken = Length = length;
        _pointer = pool.Take(length, out _bucket);
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
            ObjectDisposedException.ThrowIf(_pointer == null, this);
            return _pointer;
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
        bool fits = Pointer == root.Pointer && length >= Length && length <= 1L << root._bucket;
        return fits && Interlocked.CompareExchange(ref root._taken, length, Length) == Length ? new HostStorage(root, 0, length) : null;
    }

    /// <inheritdoc/>
    protected override void Free()
    {
        float* pointer = _pointer;
        _pointer = null;
        _whole?.Release();
        _pool?.Return(pointer, _bucket);
    }
}

/// <summary>Keeps freed host memory by power-of-two size, so that a stream's steps do not allocate.</summary>
internal sealed unsafe partial class HostMemoryPool : IDisposable
{
    private const int Alignment = 64;

    // Weights are read from end to end: in pages of 4 KiB, of which a large matrix has thousands, that is a fifth slower, and each
    // costs a fault when it is first written.
    private const int HugePage = 2 << 20;
    private const int AdviceHugePage = 14;

    private static readonly bool s_advises = OperatingSystem.IsLinux() && CanAdvise();

    private readonly ConcurrentBag<nint>[] _free = new ConcurrentBag<nint>[32];
    private bool _disposed;

    public HostMemoryPool()
    {
        for (int i = 0; i < _free.Length; i++)
            _free[i] = [];
    }

    public float* Take(int length, out int bucket)
    {
        // At least one cache line, so that two tensors never share one.
        bucket = BitOperations.Log2((uint)Math.Max(length, Alignment / sizeof(float)) - 1) + 1;
        if (_free[bucket].TryTake(out nint pointer))
            return (float*)pointer;
        nuint bytes = (nuint)sizeof(float) << bucket;
        if (!s_advises || bytes < HugePage)
            return (float*)NativeMemory.AlignedAlloc(bytes, Alignment);
        void* large = NativeMemory.AlignedAlloc(bytes, HugePage);
        // A wish: where it is refused, pages are small.
        _ = Advise(large, bytes, AdviceHugePage);
        return (float*)large;
    }

    private static bool CanAdvise()
    {
        try
        {
            return Advise(null, 0, AdviceHugePage) == 0;
        }
        catch (Exception e) when (e is DllNotFoundException or EntryPointNotFoundException)
        {
            return false;
        }
    }

    [LibraryImport("libc", EntryPoint = "madvise")]
    private static partial int Advise(void* start, nuint bytes, int advice);

    public void Return(float* pointer, int bucket)
    {
        if (_disposed)
            NativeMemory.AlignedFree(pointer);
        else
            _free[bucket].Add((nint)pointer);
    }

    public void Dispose()
    {
        _disposed = true;
        foreach (ConcurrentBag<nint> bag in _free)
        {
            while (bag.TryTake(out nint pointer))
                NativeMemory.AlignedFree((void*)pointer);
        }
    }
}
