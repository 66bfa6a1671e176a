using ILGPU;
using ILGPU.Runtime;
using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

/// <summary>
/// Every operation as ILGPU kernels. Work is queued on one stream in the order of the calls; only copies from and to the host
/// wait for it. Kernels keep to barriers and shared memory, so that CUDA, OpenCL and ILGPU's CPU accelerator run the same, but
/// for sums of a group, which CUDA has of warps.
/// </summary>
internal partial class IlgpuBackend : Backend
{
    private readonly Engine _engine;
    private readonly Accelerator _accelerator;
    private readonly AcceleratorStream _stream;
    private readonly DeviceMemoryPool _pool;
    private readonly int _threads;
    private readonly int _maximalGroups;
    private long _launches;

    public IlgpuBackend(string name, Engine engine)
    {
        Accelerator accelerator = engine.Accelerator;
        Name = name;
        _engine = engine;
        _accelerator = accelerator;
        _stream = accelerator.DefaultStream;
        _pool = new DeviceMemoryPool(accelerator);
        _threads = Math.Min(accelerator.MaxNumThreadsPerGroup, Groups.Threads);
        // Enough for any device; more work is looped over.
        _maximalGroups = accelerator.AcceleratorType == AcceleratorType.CPU ? 8 : 1 << 14;
    }

    public override string Name { get; }

    public override string Description => _engine.Description;

    internal sealed override MemoryPool Memory => _pool;

    /// <summary>Kernels queued so far.</summary>
    internal long Launches => Interlocked.Read(ref _launches);

    /// <summary>Elements of device memory that tensors and operations have taken so far: what is given back is kept for the next.</summary>
    internal long AllocatedElements => _pool.AllocatedBytes / sizeof(float);

    public override TensorStorage Allocate(int length) => Take(length);

    // Waits for the stream: a driver may read the source until the copy is done, and on return it is the caller's again.
    public override void Upload(ReadOnlySpan<float> source, TensorStorage destination)
    {
        if (source.IsEmpty)
            return;
        try
        {
            ViewOf(destination).SubView(0, source.Length).CopyFromCPU(_stream, source);
        }
        catch (Exception e) when (DeviceFailure.IsOfDevice(e))
        {
            throw Failure("a copy from the host", e);
        }
    }

    public override void Download(TensorStorage source, Span<float> destination)
    {
        if (destination.IsEmpty)
            return;
        try
        {
            ViewOf(source).SubView(0, destination.Length).CopyToCPU(_stream, destination);
        }
        catch (Exception e) when (DeviceFailure.IsOfDevice(e))
        {
            throw Failure("a copy to the host", e);
        }
    }

    public override void Copy(Tensor source, Tensor destination) => Copy(View(source), View(destination));

    protected override void Dispose(bool disposing)
    {
        if (disposing)
            _pool.Dispose();
        base.Dispose(disposing);
    }

    private static ArrayView<float> ViewOf(TensorStorage storage) => ((DeviceStorage)storage).View;

    protected static ArrayView<float> View(Tensor? tensor) => tensor is null ? default : ViewOf(tensor.Storage).SubView(0, tensor.Count);

    private static ArrayView<int> View(IndexTensor tensor) => ViewOf(tensor.Storage).SubView(0, tensor.Count).Cast<int>();

    private void Copy(ArrayView<float> source, ArrayView<float> destination)
    {
        if (source.Length == 0)
            return;
        try
        {
            destination.CopyFrom(_stream, source);
        }
        catch (Exception e) when (DeviceFailure.IsOfDevice(e))
        {
            throw Failure("a copy", e);
        }
    }

    /// <summary>Of kernels, by ILGPU or not, and of products by a library.</summary>
    protected void CountLaunch() => Interlocked.Increment(ref _launches);

    private DeviceStorage Take(int length)
    {
        try
        {
            return new DeviceStorage(_pool, length);
        }
        catch (Exception e) when (DeviceFailure.IsOfDevice(e))
        {
            throw Failure("an allocation", e);
        }
    }

    /// <summary>The exception for a caller, of one that came from the device while it did something.</summary>
    protected Exception Failure(string doing, Exception e)
    {
        Exception failure = DeviceFailure.Describe(Name, _accelerator.Name, doing, e);
        _engine.HasFailed |= failure is DeviceFailureException;
        return failure;
    }

    /// <summary>Queues a kernel over so many groups.</summary>
    private void Launch<TArguments>(Action<TArguments> kernel, long groups, TArguments arguments)
        where TArguments : struct
    {
        if (groups <= 0)
            return;
        CountLaunch();
        try
        {
            _engine.Launch(kernel, new KernelConfig((int)Math.Min(groups, _maximalGroups), _threads), arguments);
        }
        catch (Exception e) when (DeviceFailure.IsOfDevice(e))
        {
            throw Failure($"{kernel.Method.DeclaringType?.Name}.{kernel.Method.Name}", e);
        }
    }

    /// <summary>Queues a kernel of one work item for each of so many things.</summary>
    private void LaunchItems<TArguments>(Action<TArguments> kernel, long items, TArguments arguments)
        where TArguments : struct =>
        Launch(kernel, (items + _threads - 1) / _threads, arguments);

    /// <summary>Memory of one operation. It may be given back as soon as the last kernel is queued.</summary>
    protected sealed class Workspace(IlgpuBackend backend) : IDisposable
    {
        private readonly List<DeviceStorage> _storages = [];

        public DeviceStorage Take(long length)
        {
            if (length > int.MaxValue)
                throw new InsufficientMemoryException($"An operation needs a workspace of {length} elements, more than {int.MaxValue}; " +
                    "give it fewer tokens at once.");
            DeviceStorage storage = backend.Take((int)length);
            _storages.Add(storage);
            return storage;
        }

        public void Dispose()
        {
            foreach (DeviceStorage storage in _storages)
                storage.Release();
        }
    }
}
