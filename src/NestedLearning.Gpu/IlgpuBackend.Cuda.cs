using System.Runtime.InteropServices;
using NestedLearning.Gpu.Cuda;
using Cuda = NestedLearning.Gpu.Cuda;

namespace NestedLearning.Gpu;

// What hand-written CUDA does: each of these returns whether it did, and ILGPU's kernels are asked where it did not.
internal sealed unsafe partial class IlgpuBackend
{
    // Blocks that keep every multiprocessor busy, of kernels that loop over the rest.
    private const int BlocksPerMultiprocessor = 8;

    private CudaModules? CudaWith(string file) => _engine.Cuda is { } cuda && cuda.Has(file) ? cuda : null;

    /// <summary>Queues an elementwise kernel: the hand-written one where it is there, else ILGPU's.</summary>
    private void Elementwise(
        CudaKernel<Cuda.ElementwiseArguments> byHand, Action<Kernels.ElementwiseArguments> kernel, Tensor x, Tensor? y = null, Tensor? z = null, float factor = 0, Activation function = default)
    {
        if (CudaWith(Cuda.ElementwiseKernels.File) is not { } cuda)
            Elementwise(kernel, new() { X = View(x), Y = View(y), Z = View(z), Factor = factor, Function = (int)function });
        else if (x.Count > 0)
        {
            LaunchCuda(cuda, byHand, Blocks(x.Count, Cuda.ElementwiseKernels.Threads), Cuda.ElementwiseKernels.Threads, 0, new()
            {
                X = Pointer(x),
                Y = Pointer(y),
                Z = Pointer(z),
                Count = x.Count,
                Factor = factor,
                Function = (int)function,
            });
        }
    }

    // Sums that are not written stay as they are: those of tensors without elements.
    private bool CudaSumsOfSquares(ReadOnlySpan<Tensor> tensors, Span<double> sums)
    {
        // Few enough that their sums are one more block's work.
        const int MaxBlocks = 1024;
        if (CudaWith(Cuda.ElementwiseKernels.File) is not { } cuda)
            return false;
        using var workspace = new Workspace(this);
        // One after the other they take the same memory for their parts.
        DeviceStorage parts = workspace.Take(2 * MaxBlocks), results = workspace.Take(2L * tensors.Length);
        for (int i = 0; i < tensors.Length; i++)
        {
            if (tensors[i].Count == 0)
                continue;
            // On one device by the shape alone.
            int blocks = Math.Min(Blocks(tensors[i].Count, Cuda.ElementwiseKernels.Threads), MaxBlocks);
            var arguments = new Cuda.SumArguments { X = Pointer(tensors[i]), Parts = (double*)parts.Pointer, Result = (double*)results.Pointer + i, Count = tensors[i].Count };
            LaunchCuda(cuda, Cuda.ElementwiseKernels.SumOfSquares, blocks, Cuda.ElementwiseKernels.Threads, 0, arguments);
            LaunchCuda(cuda, Cuda.ElementwiseKernels.SumOfParts, 1, Cuda.ElementwiseKernels.Threads, 0, arguments with { Count = blocks });
        }

        double[] read = new double[tensors.Length];
        Download(results, MemoryMarshal.AsBytes(read.AsSpan()));
        for (int i = 0; i < tensors.Length; i++)
        {
            if (tensors[i].Count > 0)
                sums[i] = read[i];
        }

        return true;
    }

    private bool CudaAdamCommit(ReadOnlySpan<AdamTensors> tensors, ReadOnlySpan<AdamSettings> settings, Span<CommitChange> changes)
    {
        const int Elements = Cuda.AdamKernels.Threads * 4;
        if (CudaWith(Cuda.AdamKernels.File) is not { } cuda)
            return false;
        using var workspace = new Workspace(this);
        // Sums of all launches, which are read once the last is queued.
        DeviceStorage? sums = changes.IsEmpty ? null : workspace.Take(4L * tensors.Length);
        for (int first = 0; first < tensors.Length; first += Cuda.AdamKernels.Tensors)
        {
            var arguments = new Cuda.AdamArguments { Count = Math.Min(tensors.Length - first, Cuda.AdamKernels.Tensors) };
            int blocks = 0;
            for (int i = 0; i < arguments.Count; i++)
            {
                AdamTensors t = tensors[first + i];
                // One for an empty tensor too: its change is zero and has to be written.
                int own = Math.Max(1, Blocks(t.W.Count, Elements));
                arguments.Tensors[i] = CudaAdam(t.W, t.G, t.M, t.V, settings[first + i]) with { FirstBlock = blocks, Blocks = own };
                blocks += own;
            }

            if (sums is not null)
            {
                arguments.Parts = (double*)workspace.Take(4L * blocks).Pointer;
                arguments.Changes = (double*)sums.Pointer + (2 * first);
            }

            LaunchCuda(cuda, Cuda.AdamKernels.Commit, blocks, Cuda.AdamKernels.Threads, 0, arguments);
            if (sums is not null)
                LaunchCuda(cuda, Cuda.AdamKernels.Changes, arguments.Count, Cuda.AdamKernels.Threads, 0, arguments);
        }

        if (sums is not null)
        {
            double[] read = new double[2 * tensors.Length];
            Download(sums, MemoryMarshal.AsBytes(read.AsSpan()));
            for (int i = 0; i < tensors.Length; i++)
                changes[i] = new CommitChange(read[2 * i], read[(2 * i) + 1]);
        }

        return true;
    }

    private static Cuda.AdamTensor CudaAdam(Tensor w, Tensor? g, Tensor m, Tensor v, in AdamSettings settings) =>
        new() { W = Pointer(w), G = Pointer(g), M = Pointer(m), V = Pointer(v), Count = w.Count, Constants = Constants(settings) };

    private bool CudaGemmAdam(Tensor x, Tensor dy, Tensor? accumulated, Tensor w, Tensor m, Tensor v, in AdamSettings settings)
    {
        if (CudaWith(Cuda.GemmAdamKernels.File) is not { } cuda)
            return false;
        int rows = w.Shape[0], columns = w.Shape[1];
        (int tile, long blocks) = CudaTile(rows, columns);
        if (blocks > int.MaxValue)
            return false;
        if (blocks > 0)
        {
            LaunchCuda(
                cuda, Cuda.GemmAdamKernels.For(TensorCores, tile), (int)blocks,
                Cuda.GemmKernels.Threads(TensorCores, tile), Cuda.GemmKernels.SharedBytes(TensorCores, tile), new()
                {
                    X = Pointer(x),
                    Dy = Pointer(dy),
                    Adam = CudaAdam(w, accumulated, m, v, settings),
                    M = rows,
                    N = columns,
                    K = x.Count / rows,
                });
        }

        return true;
    }

    private bool CudaGemm(in GemmArguments a)
    {
        int m = a.M, n = a.N;
        TensorCores rounding = a.Precision == GemmPrecision.BFloat16 ? TensorCores.BFloat16 : TensorCores;
        bool inPlace = a.Residual is not null && Pointer(a.Residual) == Pointer(a.C);
        bool isPlain = a.Epilogue == Epilogue.None && !a.Symmetric && a.Bias is null && a.PreActivation is null && (a.Residual is null || inPlace);
        if (isPlain && BlasGemm(rounding, m, n, a.K, a.A, a.TransposeA, a.B, a.TransposeB, a.Accumulate ? 1 : inPlace ? a.ResidualScale : 0, a.C))
            return true;
        return CudaGemm(rounding, new()
        {
            A = Pointer(a.A),
            B = Pointer(a.B),
            C = Pointer(a.C),
            Bias = Pointer(a.Bias),
            PreActivation = Pointer(a.PreActivation),
            Residual = Pointer(a.Residual),
            M = m,
            N = n,
            K = a.K,
            Batches = 1,
            RowA = a.TransposeA ? m : a.K,
            RowB = a.TransposeB ? a.K : n,
            RowC = n,
            Scale = 1,
            ResidualScale = a.ResidualScale,
            Epilogue = (int)a.Epilogue,
            Accumulate = a.Accumulate ? 1 : 0,
            Symmetric = a.Symmetric ? 1 : 0,
            TransposeA = a.TransposeA ? 1 : 0,
            TransposeB = a.TransposeB ? 1 : 0,
        });
    }

    private bool CudaBatchedGemm(Tensor a, Tensor b, Tensor c, bool transposeA, bool transposeB, bool accumulate)
    {
        int m = c.Shape[^2], n = c.Shape[^1], k = a.Shape[transposeA ? ^2 : ^1];
        if (c.Count == m * n && BlasGemm(TensorCores, m, n, k, a, transposeA, b, transposeB, accumulate ? 1 : 0, c))
            return true;
        return CudaGemm(TensorCores, new()
        {
            A = Pointer(a),
            B = Pointer(b),
            C = Pointer(c),
            BatchA = (long)m * k,
            BatchB = (long)k * n,
            BatchC = (long)m * n,
            M = m,
            N = n,
            K = k,
            Batches = c.Count / (m * n),
            RowA = transposeA ? m : k,
            RowB = transposeB ? k : n,
            RowC = n,
            Scale = 1,
            ResidualScale = 1,
            Accumulate = accumulate ? 1 : 0,
            TransposeA = transposeA ? 1 : 0,
            TransposeB = transposeB ? 1 : 0,
        });
    }

    private bool BlasGemm(TensorCores rounding, int m, int n, int k, Tensor a, bool transposeA, Tensor b, bool transposeB, float beta, Tensor c)
    {
        if (_engine.Cuda is null || !Cuda.CudaBlas.Suits(rounding, m, n, k) || _engine.Blas is not { } blas)
            return false;
        try
        {
            blas.Gemm(rounding, m, n, k, View(a), transposeA, View(b), transposeB, beta, View(c));
            Interlocked.Increment(ref _launches);
        }
        catch (Exception e) when (DeviceFailure.IsOfDevice(e))
        {
            throw Failure("a product by cuBLAS", e);
        }

        return true;
    }

    private bool CudaGemm(TensorCores rounding, in Cuda.GemmArguments arguments)
    {
        if (CudaWith(Cuda.GemmKernels.File) is not { } cuda)
            return false;
        (int tile, long blocks) = CudaTile(arguments.M, arguments.N, arguments.Batches, arguments.Symmetric != 0);
        if (blocks > int.MaxValue)
            return false;
        if (blocks > 0)
        {
            LaunchCuda(
                cuda, Cuda.GemmKernels.For(rounding, arguments.TransposeA != 0, arguments.TransposeB != 0, tile), (int)blocks,
                Cuda.GemmKernels.Threads(rounding, tile), Cuda.GemmKernels.SharedBytes(rounding, tile), arguments);
        }

        return true;
    }

    // The tile of products, and the blocks of all. The larger tile reads less and is worth it where its blocks fill the device.
    private (int Tile, long Blocks) CudaTile(int m, int n, int batches = 1, bool symmetric = false)
    {
        long large = BlocksOf(128);
        return large >= 2 * _accelerator.NumMultiprocessors ? (128, large) : (64, BlocksOf(64));

        long BlocksOf(int tile)
        {
            long rows = (m + tile - 1) / tile, columns = (n + tile - 1) / tile;
            return batches * (symmetric ? rows * (rows + 1) / 2 : rows * columns);
        }
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
