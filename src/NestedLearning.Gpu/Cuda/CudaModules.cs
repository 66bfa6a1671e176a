using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using ILGPU.Runtime;
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

/// <summary>The text of a file of PTX by architecture and name, such as sm_80 and scan; null where there is none.</summary>
internal delegate string? PtxSource(string architecture, string file);

/// <summary>
/// The hand-written kernels of a device. Their PTX is embedded where it was made before the build, loaded into ILGPU's context when it is
/// first asked for, and launched on its stream. A file that this driver or device refuses is left out with its reason, and ILGPU's kernels
/// do its work.
/// </summary>
internal sealed unsafe class CudaModules
{
    /// <summary>The environment variable that, with <c>ilgpu</c>, switches hand-written kernels off.</summary>
    public const string Variable = "NESTED_LEARNING_CUDA";

    // CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES and CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN.
    private const int MaxDynamicShared = 8, MaxSharedOptIn = 97;

    // What a kernel may have without asking.
    private const int SharedBytes = 48 << 10;

    // The architectures that there is PTX of, the best first, with the compute capability that each needs, times ten.
    private static readonly (string Name, int Capability)[] s_architectures = [("sm_80", 80)];

    private readonly Dictionary<string, Module> _modules = [];
    private readonly Accelerator _accelerator;
    private readonly string _architecture;
    private readonly nint _stream;
    private readonly PtxSource _ptx;
    private readonly delegate* unmanaged<nint, int, int, int> _setAttribute;

    /// <summary>The kernels for a device.</summary>
    /// <param name="accelerator">The device as ILGPU has it.</param>
    /// <param name="capability">Its compute capability times ten.</param>
    /// <param name="largestSharedBytes">The shared memory that a block can have.</param>
    /// <param name="stream">The driver's stream that ILGPU queues its work on.</param>
    /// <param name="ptx">Other PTX than what is embedded.</param>
    public CudaModules(Accelerator accelerator, int capability, int largestSharedBytes, nint stream, PtxSource? ptx = null)
    {
        (_accelerator, _stream, _ptx, LargestSharedBytes) = (accelerator, stream, ptx ?? Text, largestSharedBytes);
        _setAttribute = (delegate* unmanaged<nint, int, int, int>)DriverLibrary.CudaExport("cuFuncSetAttribute");
        int suitable = Array.FindIndex(s_architectures, a => a.Capability <= capability);
        (_architecture, int needed) = s_architectures[suitable < 0 ? ^1 : suitable];
        if (Environment.GetEnvironmentVariable(Variable) == "ilgpu")
            Fault = $"{Variable} is ilgpu";
        else if (suitable < 0)
            Fault = $"it needs compute capability {needed / 10}.{needed % 10} and the device has {capability / 10}.{capability % 10}";
    }

    /// <summary>Every file of PTX that there are kernels in.</summary>
    public static IReadOnlyList<string> Files { get; } =
    [
        AdamKernels.File, CrossEntropyKernels.File, ElementwiseKernels.File, GemmKernels.File, GemmAdamKernels.File,
        ScanKernels.File, ScanKernels.BackwardFile, ScanKernels.DecodeFile, SelfModifyingKernels.File,
    ];

    /// <summary>The shared memory that a block can have on this device.</summary>
    public int LargestSharedBytes { get; }

    /// <summary>Why no kernel runs here, in words; null where that depends on its file.</summary>
    public string? Fault { get; }

    /// <summary>The kernels for a device of CUDA.</summary>
    public static CudaModules For(CudaAccelerator accelerator, PtxSource? ptx = null) => new(
        accelerator,
        (accelerator.Architecture.Major * 10) + accelerator.Architecture.Minor,
        CudaAPI.CurrentAPI.GetDeviceAttribute((DeviceAttributeKind)MaxSharedOptIn, accelerator.DeviceId),
        ((CudaStream)accelerator.DefaultStream).StreamPtr,
        ptx);

    /// <summary>All embedded PTX as (architecture, file, text).</summary>
    public static IEnumerable<(string Architecture, string File, string Ptx)> Embedded() =>
        from name in EmbeddedNames()
        let architecture = ArchitectureOf(name)
        let file = Path.GetFileNameWithoutExtension(name)
        select (architecture, file, Text(architecture, file)!);

    /// <summary>A line for <c>nl doctor</c>: the PTX that this build has.</summary>
    public static string DescribeBuild()
    {
        string[] made =
        [
            .. from name in EmbeddedNames()
               group name by ArchitectureOf(name) into files
               select $"{files.Count()} of {Files.Count} files of PTX ({files.Key})",
        ];
        return made.Length > 0 ? string.Join(", ", made) : "none: this build was made without PTX, and GPUs run ILGPU's kernels";
    }

    /// <summary>A line for <c>nl doctor</c>: which files run, and why others do not. It loads all of them.</summary>
    public string Describe()
    {
        ILookup<string?, string> files = Files.Order(StringComparer.Ordinal).ToLookup(FaultOf);
        if (files[Absent].Count() == Files.Count)
            return $"no hand-written CUDA, {Absent}";
        string line = $"hand-written CUDA ({_architecture}): {string.Join(", ", files[null])}";
        foreach (IGrouping<string?, string> refused in files.Where(f => f.Key is not null))
            line += string.Concat(refused.Select(file => $"; not {file}, {refused.Key}"));
        return line;
    }

    /// <summary>
    /// Why a file's kernels do not run here, in words; null where they do. The driver takes a file when it is first asked for.
    /// </summary>
    public string? FaultOf(string file) => Fault ?? Load(file).Fault;

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
                    function, grid, 1, 1, threads, 1, 1, sharedBytes, _stream, (nint)(&pointers), 0));
            }
        }
    }

    private string Absent => $"this build was made without it ({_architecture})";

    private static IEnumerable<string> EmbeddedNames() =>
        from name in typeof(CudaModules).Assembly.GetManifestResourceNames()
        where name.EndsWith(".ptx", StringComparison.Ordinal)
        orderby name
        select name;

    private static string ArchitectureOf(string name) => name[..name.IndexOf('/', StringComparison.Ordinal)];

    private static string? Text(string architecture, string file)
    {
        using Stream? stream = typeof(CudaModules).Assembly.GetManifestResourceStream($"{architecture}/{file}.ptx");
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
            return _modules[file] = _ptx(_architecture, file) is { } ptx ? LoadText(ptx) : new Module(0, Absent);
        }
    }

    private static Module LoadText(string ptx)
    {
        CudaError error = CudaAPI.CurrentAPI.LoadModule(out nint handle, ptx, out string? log);
        if (error == CudaError.CUDA_SUCCESS)
            return new Module(handle, null);
        string words = string.IsNullOrWhiteSpace(log) ? "" : $": {log.Trim().ReplaceLineEndings(" ")}";
        return new Module(handle, $"the driver refuses it ({error}{words})");
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
