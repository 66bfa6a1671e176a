using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace NestedLearning.Gpu.Cuda;

/// <summary>
/// ILGPU's backend with hand-written CUDA in place of the kernels that there is some for. Each of its operations asks first
/// whether that can run. Where the driver has not taken the file of PTX, or the kernels do not take the shape, the answer is a
/// reason in words; nothing has been allocated or launched by then, ILGPU's kernels do the operation, and an event
/// (<see cref="BackendEvents"/>) gives the reason.
/// </summary>
internal sealed unsafe partial class CudaBackend(string name, CudaEngine engine) : IlgpuBackend(name, engine)
{
    // Blocks that keep every multiprocessor busy, of kernels that loop over the rest.
    private const int BlocksPerMultiprocessor = 8;

    private readonly CudaEngine _cuda = engine;
    private readonly CudaModules _modules = engine.Modules;
    private readonly int _multiprocessors = engine.Accelerator.NumMultiprocessors;

    /// <summary>Whether the kernels of a file run here; else why not.</summary>
    private bool CanRun(string file, [NotNullWhen(false)] out string? reason)
    {
        reason = _modules.FaultOf(file) is { } fault ? $"the kernels of {file}.ptx do not run here: {fault}" : null;
        return reason is null;
    }

    /// <summary>Whether this device takes a launch of so much shared memory a block and so many blocks; else why not.</summary>
    private bool Fits(int sharedBytes, long blocks, [NotNullWhen(false)] out string? reason)
    {
        reason = sharedBytes > _modules.LargestSharedBytes
                ? $"a block needs {sharedBytes} bytes of shared memory and can have {_modules.LargestSharedBytes} on this device"
            : blocks > int.MaxValue ? $"a launch would have {blocks} blocks and can have {int.MaxValue}"
            : null;
        return reason is null;
    }

    /// <summary>Tells whoever listens that ILGPU's kernels do an operation.</summary>
    private void FallBack(string reason, [CallerMemberName] string operation = "") =>
        BackendEvents.Log.FellBack(Name, operation, reason);

    private static float* Pointer(Tensor? tensor) => tensor is null ? null : (float*)((DeviceStorage)tensor.Storage).Pointer;

    private static float* Take(Workspace workspace, long count) => (float*)workspace.Take(count).Pointer;

    private int Blocks(long items, int threads) =>
        (int)Math.Min((items + threads - 1) / threads, (long)_multiprocessors * BlocksPerMultiprocessor);

    private void Launch<TArguments>(CudaKernel<TArguments> kernel, long blocks, int threads, int sharedBytes, in TArguments arguments)
        where TArguments : unmanaged
    {
        if (blocks == 0)
            return;
        try
        {
            _modules.Launch(kernel, checked((int)blocks), threads, sharedBytes, arguments);
            CountLaunch();
        }
        catch (Exception e) when (DeviceFailure.IsOfDevice(e))
        {
            throw Failure(kernel.Name, e);
        }
    }
}
