using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ILGPU;
using ILGPU.Algorithms;
using ILGPU.Runtime;
using ILGPU.Runtime.CPU;
using ILGPU.Runtime.Cuda;
using ILGPU.Runtime.OpenCL;

namespace NestedLearning.Gpu;

/// <summary>Finds one of ILGPU's devices and makes a backend of it.</summary>
internal abstract class IlgpuBackendProvider : BackendProvider
{
    // ILGPU looks for devices in one context at a time.
    private static readonly Lock s_lock = new();
    private Engine? _engine;

    static IlgpuBackendProvider()
    {
        // ILGPU asks for the names that drivers have on Windows.
        NativeLibrary.SetDllImportResolver(typeof(Context).Assembly, (name, _, _) => DriverLibrary.Load(name));
        NativeLibrary.SetDllImportResolver(typeof(CuBlas).Assembly, (name, _, _) =>
            name.Contains("cublas", StringComparison.Ordinal) ? DriverLibrary.Blas : 0);
    }

    public sealed override BackendReport Probe()
    {
        lock (s_lock)
        {
            try
            {
                if (Working() is Engine engine)
                    return new BackendReport(Name, true, engine.Description);
                Context? context = Find(out Finding finding);
                if (context is null)
                    return new BackendReport(Name, false, finding.Reason);
                if (KnowsItselfWhenOpen)
                {
                    _engine = Open(context, finding.Device!);
                    return new BackendReport(Name, true, _engine.Description);
                }

                using (context)
                    return new BackendReport(Name, true, Describe(finding.Device!));
            }
            catch (Exception e) when (e is not OutOfMemoryException)
            {
                return new BackendReport(Name, false, OneLine(e));
            }
        }
    }

    public sealed override Backend Create()
    {
        lock (s_lock)
        {
            _engine = Working();
            try
            {
                if (_engine is null)
                {
                    Context context = Find(out Finding finding)
                        ?? throw new BackendUnavailableException($"Backend '{Name}' cannot run here: {finding.Reason}");
                    _engine = Open(context, finding.Device!);
                }

                return NewBackend(_engine);
            }
            catch (Exception e) when (e is not (BackendUnavailableException or OutOfMemoryException))
            {
                throw new BackendUnavailableException($"Backend '{Name}' cannot run here: {OneLine(e)}", e);
            }
        }
    }

    // Of a context that is the engine's from now on, or is disposed of.
    private Engine Open(Context context, ILGPU.Runtime.Device device)
    {
        try
        {
            return NewEngine(device.CreateAccelerator(context), Describe(device));
        }
        catch
        {
            context.Dispose();
            throw;
        }
    }

    private Engine? Working() => _engine is { HasFailed: false } engine ? engine : null;

    /// <summary>What is wrong with the driver, in a line; null where nothing is known to be.</summary>
    protected abstract string? Obstacle();

    /// <summary>Lets the context have this backend's devices.</summary>
    protected abstract void Enable(Context.Builder builder);

    /// <summary>The device to run on; null where there is none.</summary>
    protected abstract ILGPU.Runtime.Device? Choose(Context context);

    protected abstract string Describe(ILGPU.Runtime.Device device);

    /// <summary>What is kept of a device that was opened.</summary>
    protected virtual Engine NewEngine(Accelerator accelerator, string description) => new(accelerator, description);

    /// <summary>A backend of such a device.</summary>
    protected virtual Backend NewBackend(Engine engine) => new IlgpuBackend(Name, engine);

    /// <summary>Whether what runs is only known once the device is open, so that a probe opens it.</summary>
    protected virtual bool KnowsItselfWhenOpen => false;

    // What was found: a device, or the reason that there is none.
    private readonly record struct Finding(ILGPU.Runtime.Device? Device, string Reason);

    private Context? Find(out Finding finding)
    {
        finding = default;
        if (!RuntimeFeature.IsDynamicCodeSupported)
        {
            finding = new(null, "kernels are compiled at run time, which a program that was compiled ahead of time cannot do.");
            return null;
        }

        if (Obstacle() is string obstacle)
        {
            finding = new(null, obstacle);
            return null;
        }

        // O2: with less, ILGPU leaves loads and stores generic, which is slow on CUDA and refused by some OpenCL compilers.
        var context = Context.Create(b =>
        {
            Enable(b);
            b.Optimize(OptimizationLevel.O2).EnableAlgorithms();
        });
        ILGPU.Runtime.Device? chosen = Choose(context);
        if (chosen is not null)
        {
            finding = new(chosen, "");
            return context;
        }

        context.Dispose();
        finding = new(null, "its driver is here, but ILGPU found no device that it can use.");
        return null;
    }

    private static string OneLine(Exception e) => $"{e.GetType().Name}: {e.Message.ReplaceLineEndings(" ")}";
}

/// <summary><c>opencl</c>: any OpenCL device, a GPU before a processor.</summary>
internal sealed class OpenClBackendProvider : IlgpuBackendProvider
{
    public override string Name => "opencl";

    public override int Preference => -10;

    protected override string? Obstacle() => DriverLibrary.OpenClObstacle();

    protected override void Enable(Context.Builder builder) => builder.OpenCL(AcceptWithoutGenericAddresses);

    protected override ILGPU.Runtime.Device? Choose(Context context)
    {
        CLDevice? chosen = null;
        foreach (CLDevice device in context.GetCLDevices())
        {
            if (chosen is null || (device.DeviceType == CLDeviceType.CL_DEVICE_TYPE_GPU
                && chosen.DeviceType != CLDeviceType.CL_DEVICE_TYPE_GPU))
                chosen = device;
        }

        return chosen;
    }

    protected override string Describe(ILGPU.Runtime.Device device)
    {
        var cl = (CLDevice)device;
        return $"ILGPU kernels, {cl.Name}, {cl.PlatformName}, {cl.MemorySize >> 20} MiB";
    }

    // ILGPU turns down devices without the generic address space (PoCL 3 is one). Nothing that it makes of these kernels
    // uses it at O2, which a test holds them to.
    [DynamicDependency(DynamicallyAccessedMemberTypes.PublicProperties, typeof(CLCapabilityContext))]
    private static bool AcceptWithoutGenericAddresses(CLDevice device)
    {
        typeof(CLCapabilityContext).GetProperty("GenericAddressSpace")!.SetValue(device.Capabilities, true);
        return true;
    }
}

/// <summary><c>ilgpu-cpu</c>: the kernels as .NET code, one thread for each of a group's. For tests: it is slow.</summary>
/// <param name="warpThreads">Threads of a warp.</param>
/// <param name="warps">Warps of a group; there is one group at a time.</param>
internal sealed class IlgpuCpuBackendProvider(int warpThreads, int warps) : IlgpuBackendProvider
{
    public override string Name => "ilgpu-cpu";

    public override int Preference => -20;

    protected override string? Obstacle() => null;

    protected override void Enable(Context.Builder builder) => builder.CPU(new CPUDevice(warpThreads, warps, 1));

    protected override ILGPU.Runtime.Device? Choose(Context context) => context.GetCPUDevices()[0];

    protected override string Describe(ILGPU.Runtime.Device device) => "ILGPU kernels on its CPU accelerator, for tests";
}
