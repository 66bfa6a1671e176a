using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ILGPU.Runtime.Cuda;

namespace NestedLearning.Gpu.Cuda;

/// <summary>A kernel of native/kernels/, by the file it is in and its name; it takes one struct.</summary>
internal readonly record struct CudaKernel<TArguments>(string File, string Name)
    where TArguments : unmanaged;

internal static class CudaKernel
{
    /// <summary>A kernel in the form of each <see cref="TensorCores"/>, by that.</summary>
    public static CudaKernel<TArguments>[] InEachRounding<TArguments>(string file, string name)
        where TArguments : unmanaged =>
        [new(file, $"{name}_float32"), new(file, $"{name}_tf32"), new(file, $"{name}_bf16")];
}

/// <summary>
/// The hand-written kernels of a device. Their PTX is embedded, loaded into ILGPU's context when it is first asked for, and
/// launched on its stream. A file that this driver or device refuses is left out with its reason, and ILGPU's kernels do its work.
/// </summary>
internal sealed unsafe class CudaModules
{
    // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES and CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN.
    private const int MaxDynamicShared = 8, MaxSharedOptIn = 97;

    // What a kernel may have without asking.
    private const int SharedBytes = 48 << 10;

    private readonly Dictionary<string, Module> _modules = [];
    private readonly CudaAccelerator _accelerator;
    private readonly string _folder;
    private readonly delegate* unmanaged<nint, int, int, int> _setAttribute;

    private CudaModules(CudaAccelerator accelerator, string folder)
    {
        _accelerator = accelerator;
        _folder = folder;
        LargestSharedBytes = CudaAPI.CurrentAPI.GetDeviceAttribute((DeviceAttributeKind)MaxSharedOptIn, accelerator.DeviceId);
        _setAttribute = (delegate* unmanaged<nint, int, int, int>)DriverLibrary.CudaExport("cuFuncSetAttribute");
    }

    /// <summary>The shared memory that a block can have on this device.</summary>
    public int LargestSharedBytes { get; }

    /// <summary>The architectures that PTX is embedded for, with the compute capability each needs.</summary>
    private static (string Folder, int Capability)[] Architectures => [("sm_80", 80)];

    /// <summary>The kernels for a device; null where it is older than all of them, or where they are switched off by NESTED_LEARNING_CUDA=ilgpu.</summary>
    public static CudaModules? For(CudaAccelerator accelerator)
    {
        if (Environment.GetEnvironmentVariable("NESTED_LEARNING_CUDA") == "ilgpu")
            return null;
        int capability = (accelerator.Architecture.Major * 10) + accelerator.Architecture.Minor;
        foreach ((string folder, int needed) in Architectures)
        {
            if (capability >= needed)
                return new CudaModules(accelerator, folder);
        }

        return null;
    }

    /// <summary>All embedded PTX as (architecture, file, text).</summary>
    public static IEnumerable<(string Architecture, string File, string Ptx)> Embedded() =>
        Names().Select(name => (name.Architecture, name.File, Text($"{name.Architecture}/{name.File}.ptx")!));

    /// <summary>A line for <c>nl doctor</c>: which files run, and why others do not.</summary>
    public string Describe()
    {
        string[] files = [.. Names().Where(name => name.Architecture == _folder).Select(name => name.File)];
        string line = $"hand-written CUDA ({_folder}): {string.Join(", ", files.Where(Has))}";
        foreach (string file in files.Where(f => !Has(f)))
            line += $"; not {file}, {_modules[file].Fault}";
        return line;
    }

    /// <summary>Whether a file's kernels run here.</summary>
    public bool Has(string file) => Load(file).Fault is null;

    /// <summary>Queues a kernel, of a file that is here, on ILGPU's stream.</summary>
    public void Launch<TArguments>(CudaKernel<TArguments> kernel, int grid, int threads, int sharedBytes, in TArguments arguments)
        where TArguments : unmanaged
    {
        // Drivers set a kernel's attributes and launch it in two steps.
        lock (_modules)
        {
            Module module = Load(kernel.File);
            using var scope = _accelerator.BindScoped();
            nint function = module.Function(kernel.Name);
            if (sharedBytes > SharedBytes && module.SharedBytes.GetValueOrDefault(kernel.Name) < sharedBytes)
            {
                CudaException.ThrowIfFailed((CudaError)_setAttribute(function, MaxDynamicShared, sharedBytes));
                module.SharedBytes[kernel.Name] = sharedBytes;
            }

            fixed (TArguments* pointer = &arguments)
            {
                void* pointers = pointer;
                CudaException.ThrowIfFailed(CudaAPI.CurrentAPI.LaunchKernel(
                    function, grid, 1, 1, threads, 1, 1, sharedBytes, ((CudaStream)_accelerator.DefaultStream).StreamPtr, (nint)(&pointers), 0));
            }
        }
    }

    private static IEnumerable<(string Architecture, string File)> Names() =>
        from name in typeof(CudaModules).Assembly.GetManifestResourceNames()
        where name.EndsWith(".ptx", StringComparison.Ordinal)
        orderby name
        select (name[..name.IndexOf('/', StringComparison.Ordinal)], Path.GetFileNameWithoutExtension(name));

    private static string? Text(string resource)
    {
        using Stream? stream = typeof(CudaModules).Assembly.GetManifestResourceStream(resource);
        if (stream is null)
            return null;
        using var reader = new StreamReader(stream);
        return reader.ReadToEnd();
    }

    private Module Load(string file)
    {
        lock (_modules)
        {
            if (_modules.TryGetValue(file, out Module? module))
                return module;
            using var scope = _accelerator.BindScoped();
            string? ptx = Text($"{_folder}/{file}.ptx");
            if (ptx is null)
                module = new Module(0, "there is none");
            else
            {
                CudaError error = CudaAPI.CurrentAPI.LoadModule(out nint handle, ptx, out string? log);
                module = new Module(handle, error == CudaError.CUDA_SUCCESS ? null : $"the driver refuses it ({error}{(string.IsNullOrWhiteSpace(log) ? "" : $": {log.Trim().ReplaceLineEndings(" ")}")})");
            }

            return _modules[file] = module;
        }
    }

    private sealed class Module(nint handle, string? fault)
    {
        private readonly Dictionary<string, nint> _functions = [];

        public string? Fault => fault;

        /// <summary>What was asked for beyond <see cref="CudaModules.SharedBytes"/>, by kernel.</summary>
        public Dictionary<string, int> SharedBytes { get; } = [];

        public nint Function(string name)
        {
            if (!_functions.TryGetValue(name, out nint function))
            {
                CudaException.ThrowIfFailed(CudaAPI.CurrentAPI.GetModuleFunction(out function, handle, name));
                _functions.Add(name, function);
            }

            return function;
        }
    }
}
