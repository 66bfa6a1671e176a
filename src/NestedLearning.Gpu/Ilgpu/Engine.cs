using System.Collections.Concurrent;
using ILGPU;
using ILGPU.Runtime;

namespace NestedLearning.Gpu;

/// <summary>
/// A device as ILGPU has it, with the kernels compiled for it so far: one for all backends of a process, since compiling takes
/// longer than most runs. It lives as long as the process, or until the device fails.
/// </summary>
internal class Engine(Accelerator accelerator, string description)
{
    private readonly ConcurrentDictionary<Delegate, Delegate> _launchers = [];

    public Accelerator Accelerator => accelerator;

    /// <summary>The device in words.</summary>
    public virtual string Description => description;

    /// <summary>Set once the device has failed: what was compiled and allocated on it is lost.</summary>
    public bool HasFailed { get; set; }

    /// <summary>
    /// Queues a kernel on the one stream. Drivers set a kernel's arguments and launch it in two steps, so one thread at a time.
    /// </summary>
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
