using System.Numerics;
using ILGPU;
using ILGPU.Runtime;

namespace NestedLearning.Gpu;

/// <summary>Elements in a device's memory: a buffer of its pool, or a part of one.</summary>
internal sealed class DeviceStorage : TensorStorage
{
    private readonly DeviceMemoryPool? _pool;
    private readonly DeviceBlock? _block;
    private readonly DeviceStorage? _whole;
    private readonly ArrayView<float> _view;
    private readonly nint _pointer;
    private bool _freed;

    public DeviceStorage(DeviceMemoryPool pool, int length)
    {
        _pool = pool;
        Length = length;
        _block = pool.Take(length);
        _view = _block.Buffer.View.AsContiguous().SubView(0, length);
        _pointer = _block.Buffer.NativePtr;
    }

    private DeviceStorage(DeviceStorage whole, int start, int length)
    {
        whole.AddReference();
        _whole = whole;
        Length = length;
        _view = whole.View.SubView(start, length);
        _pointer = whole.Pointer + ((nint)start * sizeof(float));
    }

    public override int Length { get; }

    /// <summary>The elements.</summary>
    /// <exception cref="ObjectDisposedException">The memory was given back.</exception>
    public ArrayView<float> View
    {
        get
        {
            ObjectDisposedException.ThrowIf(_freed, this);
            return _view;
        }
    }

    /// <summary>Where they are on the device, for kernels that are not ILGPU's.</summary>
    /// <exception cref="ObjectDisposedException">The memory was given back.</exception>
    public nint Pointer
    {
        get
        {
            ObjectDisposedException.ThrowIf(_freed, this);
            return _pointer;
        }
    }

    public override TensorStorage Part(int start, int length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(length, Length - start);
        return new DeviceStorage(this, start, length);
    }

    protected override void Free()
    {
        _freed = true;
        _whole?.Release();
        if (_block is not null)
            _pool!.Return(_block);
    }
}

/// <summary>A buffer in a device's memory.</summary>
internal sealed class DeviceBlock(DeviceMemoryPool pool, MemoryBuffer1D<float, Stride1D.Dense> buffer) : MemoryBlock(pool)
{
    public MemoryBuffer1D<float, Stride1D.Dense> Buffer => buffer;

    public override long Bytes { get; } = buffer.Length * sizeof(float);

    // The pool is lost too, and its buffers have finalizers of their own.
    protected override void Abandon()
    {
    }

    // A device that is lost takes nothing back, and has lost the memory with all else.
    protected override void Free()
    {
        try
        {
            buffer.Dispose();
        }
        catch (Exception e) when (DeviceFailure.IsOfDevice(e))
        {
        }
    }
}

/// <summary>
/// Keeps freed device memory by size. All work is in the order of one stream, so memory may be given out again while
/// kernels that were queued before still use it.
/// </summary>
internal sealed class DeviceMemoryPool(Accelerator accelerator) : MemoryPool, IDisposable
{
    private const int Smallest = 64;

    private readonly Dictionary<long, Stack<DeviceBlock>> _free = [];

    // A buffer has a finalizer of its own, which must not run while a block that was lost may still be taken back.
    private readonly HashSet<MemoryBuffer1D<float, Stride1D.Dense>> _buffers = [];
    private readonly Lock _lock = new();
    private long _allocated;
    private long _kept;
    private bool _disposed;

    public override long AllocatedBytes => Interlocked.Read(ref _allocated);

    public override long KeptBytes => Interlocked.Read(ref _kept);

    public DeviceBlock Take(int length)
    {
        BeforeTake?.Invoke();
        long size = Rounded(length);
        DeviceBlock? block;
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            block = Kept(size);
        }

        // Outside of the lock, which finalizers that give back what was lost take too.
        if (block is null)
        {
            FindsLost(size * sizeof(float));
            lock (_lock)
            {
                ObjectDisposedException.ThrowIf(_disposed, this);
                block = Kept(size) ?? AllocateOrTrim(size);
            }
        }

        GiveOut(block, length);
        return block;
    }

    public override void Return(MemoryBlock block)
    {
        var device = (DeviceBlock)block;
        lock (_lock)
        {
            device.IsInUse = false;
            if (_disposed || _kept > KeptLimit - device.Bytes)
            {
                // What queued kernels still use must be left to them before it is freed.
                if (!_disposed)
                    Synchronize();
                Free(device);
                return;
            }

            if (!_free.TryGetValue(device.Buffer.Length, out Stack<DeviceBlock>? blocks))
                _free.Add(device.Buffer.Length, blocks = []);
            blocks.Push(device);
            _kept += device.Bytes;
        }
    }

    public override void Trim()
    {
        lock (_lock)
        {
            if (_kept == 0)
                return;
            Synchronize();
            FreeKept();
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            FreeKept();
            _disposed = true;
        }
    }

    // Up to an eighth more than asked for, so that sizes that are nearly the same share buffers; always some more, so that
    // a view of no elements has an address.
    private static long Rounded(int length)
    {
        long wanted = Math.Max(Smallest, length + 1L);
        long step = Math.Max(Smallest, 1L << Math.Max(0, BitOperations.Log2((ulong)wanted) - 3));
        return (wanted + step - 1) / step * step;
    }

    private DeviceBlock? Kept(long size)
    {
        if (!_free.TryGetValue(size, out Stack<DeviceBlock>? blocks) || !blocks.TryPop(out DeviceBlock? block))
            return null;
        _kept -= block.Bytes;
        return block;
    }

    private DeviceBlock AllocateOrTrim(long size)
    {
        try
        {
            return Allocate(size);
        }
        catch (Exception e) when (DeviceFailure.IsOutOfMemory(e))
        {
            Synchronize();
            FreeKept();
        }

        try
        {
            return Allocate(size);
        }
        catch (Exception e) when (DeviceFailure.IsOutOfMemory(e))
        {
            throw new InsufficientMemoryException($"'{accelerator.Name}' has {accelerator.MemorySize >> 20} MiB of memory and not " +
                $"{size * sizeof(float) >> 20} MiB of it free.", e);
        }
    }

    private void FreeKept()
    {
        foreach (Stack<DeviceBlock> blocks in _free.Values)
        {
            while (blocks.TryPop(out DeviceBlock? block))
                Free(block);
        }

        _kept = 0;
    }

    private void Synchronize()
    {
        try
        {
            accelerator.Synchronize();
        }
        catch (Exception e) when (DeviceFailure.IsOfDevice(e))
        {
        }
    }

    private DeviceBlock Allocate(long size)
    {
        MemoryBuffer1D<float, Stride1D.Dense> buffer = accelerator.Allocate1D<float>(size);
        _buffers.Add(buffer);
        Interlocked.Add(ref _allocated, size * sizeof(float));
        return new DeviceBlock(this, buffer);
    }

    private void Free(DeviceBlock block)
    {
        _buffers.Remove(block.Buffer);
        Interlocked.Add(ref _allocated, -block.Bytes);
        block.Dispose();
    }
}
