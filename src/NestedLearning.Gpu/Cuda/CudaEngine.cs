using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;

namespace NestedLearning.Gpu.Cuda;

/// <summary>A device with the hand-written kernels that run on it, and with cuBLAS where its library is.</summary>
internal sealed class CudaEngine(Accelerator accelerator, string description, CudaModules modules) : Engine(accelerator, description)
{
    // Its handle takes memory, and some time to make.
    private readonly Lazy<(CudaBlas? Blas, string? Fault)> _blas = new(
        () => accelerator is CudaAccelerator cuda ? CudaBlas.For(cuda) : (null, "the device is none of CUDA"));

    /// <summary>What ILGPU says of the device, which hand-written kernels run and whether cuBLAS does; else why not.</summary>
    public override string Description =>
        modules.Fault is { } fault ? $"{base.Description}; no hand-written CUDA, {fault}"
        : Blas is { } blas ? $"{base.Description}; {modules.Describe()}; cuBLAS {blas.Version} for large products"
        : $"{base.Description}; {modules.Describe()}; no cuBLAS, {_blas.Value.Fault}";

    /// <summary>The hand-written kernels.</summary>
    public CudaModules Modules => modules;

    /// <summary>cuBLAS; null where it is not here, or where hand-written kernels are not: without them everything is ILGPU's.</summary>
    public CudaBlas? Blas => modules.Fault is null ? _blas.Value.Blas : null;
}
