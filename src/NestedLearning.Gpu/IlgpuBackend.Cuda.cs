using NestedLearning.Gpu.Cuda;
using Cuda = NestedLearning.Gpu.Cuda;

namespace NestedLearning.Gpu;

// What hand-written CUDA does: each of these returns whether it did, and ILGPU's kernels are asked where it did not.
internal sealed unsafe partial class IlgpuBackend
{
    // Blocks that keep every multiprocessor busy, of kernels that loop over the rest.
    private const int BlocksPerMultiprocessor = 8;

    private CudaModules? CudaWith(string file) => _engine.Cuda is { } cuda && cuda.Has(file) ? cuda : null;

    private bool CudaFill(Tensor tensor, float value)
    {
        const int Threads = 256;
        if (CudaWith(Cuda.ElementwiseKernels.File) is not { } cuda)
            return false;
        if (tensor.Count > 0)
            LaunchCuda(cuda, Cuda.ElementwiseKernels.Fill, Blocks(tensor.Count, Threads), Threads, 0, new() { X = Pointer(tensor), Count = tensor.Count, Value = value });
        return true;
    }

    private static float* Pointer(Tensor? tensor) => tensor is null ? null : (float*)((DeviceStorage)tensor.Storage).Pointer;

    private int Blocks(long items, int threads) =>
        (int)Math.Min((items + threads - 1) / threads, (long)_accelerator.NumMultiprocessors * BlocksPerMultiprocessor);

    private void LaunchCuda<TArguments>(CudaModules cuda, CudaKernel<TArguments> kernel, int grid, int threads, int sharedBytes, in TArguments arguments)
        where TArguments : unmanaged
    {
        try
        {
            cuda.Launch(kernel, grid, threads, sharedBytes, arguments);
        }
        catch (Exception e) when (DeviceFailure.IsOfDevice(e))
        {
            throw Failure(kernel.Name, e);
        }
    }
}
