using ILGPU;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;
using NestedLearning.Gpu.Cuda;

namespace NestedLearning.Gpu;

/// <summary><c>cuda</c>: NVIDIA GPUs. Needs a driver and no toolkit.</summary>
/// <param name="name">Another name, in tests.</param>
/// <param name="ptx">Other PTX than what is embedded, in tests.</param>
internal sealed class CudaBackendProvider(string name = "cuda", PtxSource? ptx = null) : IlgpuBackendProvider
{
    public override string Name => name;

    public override int Preference => 20;

    protected override string? Obstacle() => DriverLibrary.CudaObstacle();

    // The description says which hand-written kernels run, and only loading a file tells whether the driver takes it. So a probe and
    // a description load all of them, for nl doctor and reports; what only opens the device loads each when it first runs.
    protected override bool KnowsItselfWhenOpen => true;

    protected override void Enable(Context.Builder builder) => builder.Cuda();

    protected override ILGPU.Runtime.Device? Choose(Context context) =>
        context.GetCudaDevices().Count == 0 ? null : context.GetCudaDevice(0);

    protected override string Describe(ILGPU.Runtime.Device device)
    {
        var cuda = (CudaDevice)device;
        string capability = $"{cuda.Architecture?.Major}.{cuda.Architecture?.Minor}";
        return $"ILGPU kernels, {cuda.Name}, compute capability {capability}, {cuda.MemorySize >> 20} MiB";
    }

    protected override Engine NewEngine(Accelerator accelerator, string description) =>
        new CudaEngine(accelerator, description, CudaModules.For((CudaAccelerator)accelerator, ptx));

    protected override Backend NewBackend(Engine engine) => new CudaBackend(Name, (CudaEngine)engine);
}
