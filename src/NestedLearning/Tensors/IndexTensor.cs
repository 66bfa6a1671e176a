using System.Runtime.InteropServices;

namespace NestedLearning;

/// <summary>A contiguous array of int32 in one device's memory: token or class numbers. Its elements never change.</summary>
public sealed class IndexTensor : IDisposable
{
    private TensorStorage? _storage;

    internal IndexTensor(Device device, Shape shape, TensorStorage storage, int minimum, int maximum)
    {
        Device = device;
        Shape = shape;
        Count = shape.ElementCount;
        Minimum = minimum;
        Maximum = maximum;
        _storage = storage;
    }

    /// <summary>The device whose memory holds the elements.</summary>
    public Device Device { get; }

    /// <summary>The axis lengths, outermost first.</summary>
    public Shape Shape { get; }

    /// <summary>The number of elements.</summary>
    public int Count { get; }

    /// <summary>The smallest element; 0 when there is none. Kept, so that a range check need not read the device.</summary>
    public int Minimum { get; }

    /// <summary>The largest element; 0 when there is none.</summary>
    public int Maximum { get; }

    /// <summary>The memory behind this tensor, for backends.</summary>
    /// <exception cref="ObjectDisposedException">The tensor was disposed.</exception>
    public TensorStorage Storage
    {
        get
        {
            ObjectDisposedException.ThrowIf(_storage is null, this);
            return _storage;
        }
    }

    /// <summary>
    /// The elements, on a device whose memory the host can address; they are there as long as somebody refers to the tensor.
    /// </summary>
    /// <exception cref="InvalidOperationException">The device's memory cannot be addressed by the host.</exception>
    public unsafe ReadOnlySpan<int> Span => new(Pointer, Count);

    internal unsafe int* Pointer => (int*)(Storage as HostStorage
        ?? throw new InvalidOperationException($"A tensor on '{Device.Name}' cannot be read as host memory; copy it out.")).Pointer;

    /// <summary>The elements as a new array.</summary>
    public int[] ToArray()
    {
        int[] array = new int[Count];
        using Held held = Held.All(this);
        Device.Backend.Download(Storage, MemoryMarshal.Cast<int, float>(array.AsSpan()));
        return array;
    }

    /// <summary>Gives the memory back to the device's pool. Calling it again does nothing.</summary>
    public void Dispose() => Interlocked.Exchange(ref _storage, null)?.Release();
}
