using NestedLearning.Gpu.Cuda;
using Cuda = NestedLearning.Gpu.Cuda;

namespace NestedLearning.Gpu;

// What hand-written CUDA does: each of these returns whether it did, and ILGPU's kernels are asked where it did not.
internal sealed unsafe partial class IlgpuBackend
{
    // Blocks that keep every multiprocessor busy, of kernels that loop over the rest.
    private const int BlocksPerMultiprocessor = 8;

    private CudaModules? CudaWith(string file) => _engine.Cuda is { } cuda && cuda.Has(file) ? cuda : null;

    private bool CudaElementwise(CudaKernel<Cuda.ElementwiseArguments> kernel, Cuda.ElementwiseArguments arguments)
    {
        if (CudaWith(Cuda.ElementwiseKernels.File) is not { } cuda)
            return false;
        if (arguments.Count > 0)
            LaunchCuda(cuda, kernel, Blocks(arguments.Count, Cuda.ElementwiseKernels.Threads), Cuda.ElementwiseKernels.Threads, 0, arguments);
        return true;
    }

    private double? CudaSumOfSquares(Tensor x)
    {
        if (CudaWith(Cuda.ElementwiseKernels.File) is not { } cuda)
            return null;
        // Few enough that their sums are one more block's work, and by the shape alone.
        int blocks = Math.Min(Blocks(x.Count, Cuda.ElementwiseKernels.Threads), 1024);
        using var workspace = new Workspace(this);
        DeviceStorage parts = workspace.Take(2 * blocks), result = workspace.Take(2);
        var arguments = new Cuda.SumArguments { X = Pointer(x), Parts = (double*)parts.Pointer, Result = (double*)result.Pointer, Count = x.Count };
        LaunchCuda(cuda, Cuda.ElementwiseKernels.SumOfSquares, blocks, Cuda.ElementwiseKernels.Threads, 0, arguments);
        LaunchCuda(cuda, Cuda.ElementwiseKernels.SumOfParts, 1, Cuda.ElementwiseKernels.Threads, 0, arguments with { Count = blocks });
        double sum = 0;
        Download(result, new Span<byte>(&sum, sizeof(double)));
        return sum;
    }

    private bool CudaCrossEntropy(CudaKernel<Cuda.CrossEntropyArguments> kernel, Tensor logits, IndexTensor targets, Cuda.CrossEntropyArguments arguments)
    {
        if (CudaWith(Cuda.CrossEntropyKernels.File) is not { } cuda)
            return false;
        if (targets.Count > 0)
        {
            LaunchCuda(cuda, kernel, Math.Min(targets.Count, _accelerator.NumMultiprocessors * BlocksPerMultiprocessor), Cuda.CrossEntropyKernels.Threads, 0, arguments with
            {
                Logits = Pointer(logits),
                Targets = (int*)((DeviceStorage)targets.Storage).Pointer,
                Count = targets.Count,
                Classes = logits.Shape.Last,
            });
        }

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
            Interlocked.Increment(ref _launches);
        }
        catch (Exception e) when (DeviceFailure.IsOfDevice(e))
        {
            throw Failure(kernel.Name, e);
        }
    }
}
