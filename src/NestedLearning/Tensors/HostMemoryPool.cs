using System.Numerics;
using System.Runtime.InteropServices;

namespace NestedLearning;

/// <summary>Host memory of a power of two of elements.</summary>
internal sealed unsafe class HostBlock(HostMemoryPool pool, float* pointer, int bucket) : MemoryBlock(pool)
{
    /// <summary>The first element.</summary>
    public float* Pointer { get; } = pointer;

    /// <summary>log₂ of the elements.</summary>
    public int Bucket { get; } = bucket;

    /// <inheritdoc/>
    public override long Bytes => (long)sizeof(float) << Bucket;

    /// <inheritdoc/>
    protected override void Abandon() => Free();

    /// <inheritdoc/>
    protected override void Free() => NativeMemory.AlignedFree(Pointer);
}

/// <summary>Keeps freed host memory by power-of-two size, so that a stream's steps do not allocate.</summary>
internal sealed unsafe partial class HostMemoryPool : MemoryPool, IDisposable
{
    private const int Alignment = 64;

    // Weights are read from end to end: in pages of 4 KiB, of which a large matrix has thousands, that is a fifth slower, and each
    // costs a fault when it is first written.
    private const int HugePage = 2 << 20;
    private const int AdviceHugePage = 14;

    private static readonly bool s_advises = OperatingSystem.IsLinux() && CanAdvise();

    private readonly FreeList[] _free = new FreeList[32];
    private long _allocated;

    public HostMemoryPool()
    {
        for (int i = 0; i < _free.Length; i++)
            _free[i] = new FreeList();
    }

    /// <inheritdoc/>
    public override long AllocatedBytes => Interlocked.Read(ref _allocated);

    /// <inheritdoc/>
    public override long KeptBytes
    {
        get
        {
            long bytes = 0;
            for (int bucket = 0; bucket < _free.Length; bucket++)
                bytes += (long)_free[bucket].Count * sizeof(float) << bucket;
            return bytes;
        }
    }

    public HostBlock Take(int length)
    {
        BeforeTake?.Invoke();
        // At least one cache line, so that two tensors never share one.
        int bucket = BitOperations.Log2((uint)Math.Max(length, Alignment / sizeof(float)) - 1) + 1;
        HostBlock? block = _free[bucket].Pop();
        if (block is null && FindsLost((long)sizeof(float) << bucket))
            block = _free[bucket].Pop();
        block ??= Allocate(bucket);
        GiveOut(block, length);
        return block;
    }

    /// <inheritdoc/>
    public override void Return(MemoryBlock block)
    {
        var host = (HostBlock)block;
        host.IsInUse = false;
        bool fits = KeptLimit == long.MaxValue || KeptBytes + host.Bytes <= KeptLimit;
        if (!(fits && _free[host.Bucket].Push(host)))
            Free(host);
    }

    /// <inheritdoc/>
    public override void Trim()
    {
        foreach (FreeList list in _free)
        {
            while (list.Pop() is { } block)
                Free(block);
        }
    }

    public void Dispose()
    {
        foreach (FreeList list in _free)
            list.Close();
        Trim();
    }

    private void Free(HostBlock block)
    {
        Interlocked.Add(ref _allocated, -block.Bytes);
        block.Dispose();
    }

    private HostBlock Allocate(int bucket)
    {
        nuint bytes = (nuint)sizeof(float) << bucket;
        float* pointer;
        try
        {
            pointer = Allocate(bytes);
        }
        catch (OutOfMemoryException)
        {
            // What is kept, and what was lost and not yet found.
            GC.Collect();
            GC.WaitForPendingFinalizers();
            Trim();
            pointer = Allocate(bytes);
        }

        Interlocked.Add(ref _allocated, (long)bytes);
        return new HostBlock(this, pointer, bucket);
    }

    private static float* Allocate(nuint bytes)
    {
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

    // Last in, first out: what was used last is still in a cache.
    private sealed class FreeList
    {
        private readonly Lock _lock = new();
        private MemoryBlock? _first;
        private bool _isClosed;
        private int _count;

        public int Count => Volatile.Read(ref _count);

        public HostBlock? Pop()
        {
            lock (_lock)
            {
                if (_first is not { } block)
                    return null;
                _first = block.Next;
                block.Next = null;
                _count--;
                return (HostBlock)block;
            }
        }

        /// <summary>False once the list is closed.</summary>
        public bool Push(HostBlock block)
        {
            lock (_lock)
            {
                if (_isClosed)
                    return false;
                block.Next = _first;
                _first = block;
                _count++;
                return true;
            }
        }

        public void Close()
        {
            lock (_lock)
                _isClosed = true;
        }
    }
}
