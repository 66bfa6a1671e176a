using System.Numerics;
using ILGPU;
using ILGPU.Runtime;

namespace NestedLearning.Gpu;

/// <summary>Elements in a device's memory: a buffer of its pool, or a part of one.</summary>
internal sealed class DeviceStorage : TensorStorage
{
    private readonly DeviceMemoryPool? _pool;
    private readonly MemoryBuffer1D<float, Stride1D.Dense>? _buffer;
    private readonly DeviceStorage? _whole;
    private readonly ArrayView<float> _view;
    private readonly nint _pointer;
    private bool _freed;

    public DeviceStorage(DeviceMemoryPool pool, int length)
    {
        _pool = pool;
        Length = length;
        _buffer = pool.Take(length);
        _view = _buffer.View.AsContiguous().SubView(0, length);
        _pointer = _buffer.NativePtr;
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
        if (_buffer is not null)
            _pool!.Return(_buffer);
    }
}

/// <summary>
/// Keeps freed device memory by size. All work is in the order of one stream, so memory may be given out again while
/// kernels that were queued before still use it.
/// </summary>
internal sealed class DeviceMemoryPool(Accelerator accelerator) : IDisposable
{
    private const int Smallest = 64;

    private readonly Dictionary<long, Stack<MemoryBuffer1D<float, Stride1D.Dense>>> _free = [];
    private readonly Lock _lock = new();
    private long _allocated;
    private bool _disposed;

    /// <summary>Elements in use or kept.</summary>
    public long Allocated => Interlocked.Read(ref _allocated);

    public MemoryBuffer1D<float, Stride1D.Dense> Take(int length)
    {
        long size = Rounded(length);
        lock (_lock)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_free.TryGetValue(size, out Stack<MemoryBuffer1D<float, Stride1D.Dense>>? buffers)
                && buffers.TryPop(out MemoryBuffer1D<float, Stride1D.Dense>? buffer))
                return buffer;
            try
            {
                return Allocate(size);
            }
            catch (Exception e) when (DeviceFailure.IsOutOfMemory(e))
            {
                // What queued kernels still use must be left to them before it is freed.
                accelerator.Synchronize();
                Trim();
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
    }

    public void Return(MemoryBuffer1D<float, Stride1D.Dense> buffer)
    {
        lock (_lock)
        {
            if (_disposed)
            {
                Free(buffer);
                return;
            }

            if (!_free.TryGetValue(buffer.Length, out Stack<MemoryBuffer1D<float, Stride1D.Dense>>? buffers))
                _free.Add(buffer.Length, buffers = []);
            buffers.Push(buffer);
        }
    }

    public void Dispose()
    {
        lock (_lock)
        {
            Trim();
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

    private void Trim()
    {
        foreach (Stack<MemoryBuffer1D<float, Stride1D.Dense>> buffers in _free.Values)
        {
            while (buffers.TryPop(out MemoryBuffer1D<float, Stride1D.Dense>? buffer))
                Free(buffer);
        }
    }

    private MemoryBuffer1D<float, Stride1D.Dense> Allocate(long size)
    {
        MemoryBuffer1D<float, Stride1D.Dense> buffer = accelerator.Allocate1D<float>(size);
        Interlocked.Add(ref _allocated, size);
        return buffer;
    }

    // A device that is lost takes nothing back, and has lost the memory with all else.
    private void Free(MemoryBuffer1D<float, Stride1D.Dense> buffer)
    {
        Interlocked.Add(ref _allocated, -buffer.Length);
        try
        {
            buffer.Dispose();
        }
        catch (Exception e) when (DeviceFailure.IsOfDevice(e))
        {
        }
    }
}
