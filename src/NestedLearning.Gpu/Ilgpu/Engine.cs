using System.Collections.Concurrent;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using NestedLearning.Gpu.Cuda;

namespace NestedLearning.Gpu;

/// <summary>
/// A device as ILGPU has it, with the kernels compiled for it so far: one for all backends of a process, since compiling takes
/// longer than most runs. It lives as long as the process, or until the device fails.
/// </summary>
internal sealed class Engine(Accelerator accelerator, string description)
{
    private readonly ConcurrentDictionary<Delegate, Delegate> _launchers = [];

    // Its handle takes memory, and some time to make.
    private readonly Lazy<(CudaBlas? Blas, string? Fault)> _blas = new(
        () => accelerator is CudaAccelerator cuda ? CudaBlas.For(cuda) : (null, null));

    public Accelerator Accelerator => accelerator;

    public string Description =>
        Cuda is null ? description
        : Blas is { } blas ? $"{description}; {Cuda.Describe()}; cuBLAS {blas.Version} for large products"
        : $"{description}; {Cuda.Describe()}; no cuBLAS, {_blas.Value.Fault}";

    /// <summary>The hand-written kernels; null where the device is not one for them.</summary>
    public CudaModules? Cuda { get; } = accelerator is CudaAccelerator cuda ? CudaModules.For(cuda) : null;

    /// <summary>cuBLAS; null where it is not here.</summary>
    public CudaBlas? Blas => _blas.Value.Blas;

    /// <summary>Set once the device has failed: what was compiled and allocated on it is lost.</summary>
    public bool HasFailed { get; set; }

    /// <summary>Queues a kernel on the one stream. Drivers set a kernel's arguments and launch it in two steps, so one thread at a time.</summary>
    public void Launch<TArguments>(Action<TArguments> kernel, KernelConfig configuration, TArguments arguments)
        where TArguments : struct
    {
        lock (_launchers)
        {
            var launcher = (Action<AcceleratorStream, KernelConfig, TArguments>)_launchers.GetOrAdd(
                kernel, static (k, a) => a.LoadKernel((Action<TArguments>)k), accelerator);
            launcher(accelerator.DefaultStream, configuration, arguments);
        }
    }
}
