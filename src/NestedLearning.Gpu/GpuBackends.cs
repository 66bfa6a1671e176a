namespace NestedLearning.Gpu;

/// <summary>The backends of this package: <c>cuda</c>, <c>opencl</c> and <c>ilgpu-cpu</c>, all of the same kernels.</summary>
public static class GpuBackends
{
    /// <summary>
    /// Makes them known to <see cref="Device"/>. Of the three only <c>cuda</c> is preferred to the processor's own kernels
    /// by <see cref="Device.Open()"/>; the others run when asked for by name. Calling it again changes nothing.
    /// </summary>
    public static void Register()
    {
        foreach (IlgpuBackendProvider provider in s_providers)
            Device.Register(provider);
    }

    // One of each, since they keep what they compile.
    private static readonly IlgpuBackendProvider[] s_providers = [new CudaBackendProvider(), new OpenClBackendProvider(),
        new IlgpuCpuBackendProvider(warpThreads: 2, warps: 4)];
}
