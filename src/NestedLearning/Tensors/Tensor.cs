namespace NestedLearning;

/// <summary>
/// A contiguous, row-major array of float32 in one device's memory. Copies between devices are explicit, and
/// <see cref="Dispose"/> returns the memory to the device's pool, once no operation uses it any more. The memory of a tensor that is
/// not disposed goes back when the garbage collector finds it; see <see cref="Device.LostTensors"/>.
/// </summary>
public sealed class Tensor : IDisposable
{
    private TensorStorage? _storage;

    internal Tensor(Device device, Shape shape, TensorStorage storage)
    {
        Device = device;
        Shape = shape;
        Count = shape.ElementCount;
        _storage = storage;
    }

    /// <summary>The device whose memory holds the elements.</summary>
    public Device Device { get; }

    /// <summary>The axis lengths, outermost first.</summary>
    public Shape Shape { get; }

    /// <summary>The number of elements.</summary>
    public int Count { get; }

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

    /// <summary>Whether <see cref="Dispose"/> was called.</summary>
    public bool IsDisposed => _storage is null;

    /// <summary>
    /// The elements, on a device whose memory the host can address. They are there until the tensor is disposed, or nobody refers to it
    /// any more: dispose it after the last use of them.
    /// </summary>
    /// <exception cref="InvalidOperationException">The device's memory cannot be addressed by the host; use
    /// <see cref="CopyTo(Span{float})"/>.</exception>
    public unsafe Span<float> Span => new(Host.Pointer, Count);

    /// <summary>The address of the first element, on a device whose memory the host can address.</summary>
    internal unsafe float* Pointer => Host.Pointer;

    private HostStorage Host => Storage as HostStorage
        ?? throw new InvalidOperationException($"A tensor on '{Device.Name}' cannot be read as host memory; copy it out.");

    /// <summary>Another tensor over the same memory with another shape of as many elements. Both must be disposed.</summary>
    /// <exception cref="ArgumentException">The shape has another number of elements.</exception>
    public Tensor Reshape(Shape shape)
    {
        if (shape.ElementCount != Count)
            throw new ArgumentException($"{shape} has {shape.ElementCount} elements, the tensor {Shape} has {Count}.", nameof(shape));
        TensorStorage storage = Storage;
        storage.AddReference();
        return new Tensor(Device, shape, storage);
    }

    /// <summary>A new tensor on the same device with the same elements.</summary>
    public Tensor Clone()
    {
        using Held held = Held.All(this);
        Tensor copy = Device.Empty(Shape);
        Device.Backend.Copy(this, copy);
        return copy;
    }

    /// <summary>Copies elements in from the host.</summary>
    /// <exception cref="ArgumentException"><paramref name="source"/> has another length than <see cref="Count"/>.</exception>
    public void CopyFrom(ReadOnlySpan<float> source)
    {
        if (source.Length != Count)
            throw new ArgumentException($"The source has {source.Length} elements, the tensor {Shape} has {Count}.", nameof(source));
        using Held held = Held.All(this);
        Device.Backend.Upload(source, Storage);
    }

    /// <summary>Copies all elements out to the host.</summary>
    /// <exception cref="ArgumentException"><paramref name="destination"/> has another length than <see cref="Count"/>.</exception>
    public void CopyTo(Span<float> destination)
    {
        if (destination.Length != Count)
            throw new ArgumentException($"The destination has {destination.Length} elements, the tensor {Shape} has {Count}.",
                nameof(destination));
        using Held held = Held.All(this);
        Device.Backend.Download(Storage, destination);
    }

    /// <summary>Copies another tensor of the same shape and device into this one.</summary>
    /// <exception cref="ArgumentException">The shapes or devices differ.</exception>
    public void CopyFrom(Tensor source)
    {
        ArgumentNullException.ThrowIfNull(source);
        Require.SameShape(source, Shape);
        Require.OnDevice(source, Device);
        using Held held = Held.All(source, this);
        Device.Backend.Copy(source, this);
    }

    /// <summary>The elements as a new array.</summary>
    public float[] ToArray()
    {
        float[] array = new float[Count];
        CopyTo(array);
        return array;
    }

    /// <summary>Sets every element.</summary>
    public void Fill(float value)
    {
        using Held held = Held.All(this);
        Device.Backend.Fill(this, value);
    }

    /// <summary>Gives the memory back to the device's pool. Calling it again does nothing.</summary>
    public void Dispose() => Interlocked.Exchange(ref _storage, null)?.Release();

    /// <summary>The shape and device.</summary>
    public override string ToString() => $"float32 {Shape} on {Device.Name}";
}
