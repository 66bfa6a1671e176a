using System.Runtime.CompilerServices;
using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.CPU;
using NestedLearning.Gpu;
using NestedLearning.Gpu.Cuda;

namespace NestedLearning.Cuda.Tests;

/// <summary>
/// A <see cref="CudaBackend"/> whose memory is the host's: hand-written kernels run in the emulator and ILGPU's on its CPU
/// accelerator, which the stand-in driver cannot run. So an operation that falls back gives its result here, beside others that do not.
/// </summary>
/// <param name="name">What it is opened by.</param>
/// <param name="ptx">The PTX that there is.</param>
/// <param name="capability">The compute capability times ten.</param>
/// <param name="sharedBytes">The shared memory that a block can have.</param>
internal sealed class HybridBackendProvider(string name, PtxSource? ptx, int capability = 80, int sharedBytes = 163 << 10)
    : IlgpuBackendProvider
{
    /// <summary>No elementwise kernels, so that only what a test calls can be launched by hand; filling tensors is not.</summary>
    public const string Some = "hybrid";

    /// <summary>The same with the shared memory of a GPU for games, and with less than any has.</summary>
    public const string SmallShared = "hybrid-small-shared", LeastShared = "hybrid-least-shared";

    /// <summary>The same, and without the file of the gradient of scans.</summary>
    public const string WithoutBackward = "hybrid-without-backward";

    /// <summary>Nothing is hand-written: without any PTX, or with PTX that the driver refuses.</summary>
    public const string WithoutPtx = "hybrid-without-ptx", Refused = "hybrid-refused";

    /// <summary>The same: on a device that is too old, or switched off.</summary>
    public const string Old = "hybrid-old", SwitchedOff = "hybrid-switched-off";

    /// <summary>Those that need PTX.</summary>
    public static IReadOnlyList<string> WithPtx { get; } = [Some, SmallShared, LeastShared, WithoutBackward];

    private static readonly Lazy<Dictionary<string, string>> s_embedded =
        new(() => CudaModules.Embedded().ToDictionary(e => e.File, e => e.Ptx));

    public override string Name => name;

    public override int Preference => int.MinValue;

    // Once it is open, probes of it cost nothing.
    protected override bool KnowsItselfWhenOpen => true;

    [ModuleInitializer]
    internal static void Register()
    {
        Device.Register(new HybridBackendProvider(Some, Without("elementwise")));
        Device.Register(new HybridBackendProvider(SmallShared, Without("elementwise"), sharedBytes: 99 << 10));
        Device.Register(new HybridBackendProvider(LeastShared, Without("elementwise"), sharedBytes: 16 << 10));
        Device.Register(new HybridBackendProvider(WithoutBackward, Without("elementwise", "scan_backward")));
        Device.Register(new HybridBackendProvider(WithoutPtx, (_, _) => null));
        Device.Register(new HybridBackendProvider(Refused, (_, _) => "no PTX at all"));
        Device.Register(new HybridBackendProvider(Old, null, capability: 75));
        Device.Register(new HybridBackendProvider(SwitchedOff, null));
    }

    protected override string? Obstacle() => DriverLibrary.CudaObstacle();

    // As ilgpu-cpu has it, for the same bits.
    protected override void Enable(Context.Builder builder) => builder.CPU(new CPUDevice(2, 4, 1));

    protected override ILGPU.Runtime.Device? Choose(Context context) => context.GetCPUDevices()[0];

    protected override string Describe(ILGPU.Runtime.Device device) => "ILGPU's CPU accelerator and the emulator";

    protected override Engine NewEngine(Accelerator accelerator, string description)
    {
        string? before = Environment.GetEnvironmentVariable(CudaModules.Variable);
        try
        {
            Environment.SetEnvironmentVariable(CudaModules.Variable, name == SwitchedOff ? "ilgpu" : null);
            return new CudaEngine(accelerator, description, new CudaModules(accelerator, capability, sharedBytes, 0, ptx));
        }
        finally
        {
            Environment.SetEnvironmentVariable(CudaModules.Variable, before);
        }
    }

    protected override NestedLearning.Backend NewBackend(Engine engine) => new CudaBackend(Name, (CudaEngine)engine);

    /// <summary>What is embedded but for these files.</summary>
    internal static PtxSource Without(params string[] files) =>
        (_, file) => files.Contains(file) ? null : s_embedded.Value.GetValueOrDefault(file);
}
