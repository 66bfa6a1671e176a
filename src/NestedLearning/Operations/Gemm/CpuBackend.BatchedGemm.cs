using NestedLearning.Native;

namespace NestedLearning;

internal sealed unsafe partial class CpuBackend
{
    // From so many multiply-adds on a product is cut into pieces itself, its operands packed.
    private const long LargeProduct = 1 << 22;

    // Multiply-adds of a piece of small products: about a tenth of a millisecond.
    private const long ProductsPiece = 1 << 22;

    // Up to so many threads each copies operands for itself. It copies one of them whole, so the more threads, the more is copied
    // twice; but no core waits for another, nor for what lies in another's caches.
    private const int ThreadsWithOwnCopies = 4;

    public override void BatchedGemm(Tensor a, Tensor b, Tensor c, bool transposeA, bool transposeB, bool accumulate)
    {
        var native = new Native.GemmArguments
        {
            Size = (uint)sizeof(Native.GemmArguments),
            TransposeA = transposeA ? 1 : 0,
            TransposeB = transposeB ? 1 : 0,
            Accumulate = accumulate ? 1 : 0,
            M = c.Shape[^2],
            N = c.Shape[^1],
            K = a.Shape[transposeA ? ^2 : ^1],
            A = a.Pointer,
            B = b.Pointer,
            C = c.Pointer,
        };
        if (c.Count == 0)
            return;
        int batch = (int)(c.Count / (native.M * native.N));
        long work = Math.Max(1, native.M * native.N * native.K);
        if (work < LargeProduct)
        {
            int together = (int)Math.Clamp(ProductsPiece / work, 1, batch);
            Work.For(Pieces(batch, together), batch * Operations(work), new BatchedGemmAction(native, batch, together));
            return;
        }

        for (int i = 0; i < batch; i++)
        {
            Gemm(native);
            native.A += native.M * native.K;
            native.B += native.K * native.N;
            native.C += native.M * native.N;
        }
    }

    // A vector of 16 counts as one operation, as the kernel computes that many at once.
    private static long Operations(long multiplyAdds) => multiplyAdds / 16;

    // operations: what the epilogue adds to the product's own.
    private void Gemm(Native.GemmArguments native, long operations = 0)
    {
        var sizes = new GemmSizes { Size = (uint)sizeof(GemmSizes) };
        Status.ThrowIfFailed(Kernels.GemmPlan(&native, &sizes));
        // Where there are few rows reading B takes longer than multiplying with it.
        operations += Operations(native.M * native.N * native.K) + native.K * native.N / 2;
        if (sizes.PackPieces == 0)
        {
            Work.For((int)sizes.Pieces, operations, new GemmAction(native, 0, null, (nint)sizes.Workspace));
            return;
        }

        if (Work.Threads <= ThreadsWithOwnCopies)
        {
            // The runs of a symmetric product are of unequal work.
            int pieces = (int)sizes.Pieces, runs = Math.Min(pieces, native.Symmetric != 0 ? 2 * Work.Threads : Work.Threads);
            for (int pass = 0; pass < sizes.Passes; pass++)
                Work.For(runs, operations, new GemmRunAction(native, pass, pieces, runs, (nint)sizes.Workspace));
            return;
        }

        TensorStorage packed = Allocate(checked((int)sizes.Packed));
        try
        {
            float* shared = ((HostStorage)packed).Pointer;
            for (int pass = 0; pass < sizes.Passes; pass++)
            {
                Work.For((int)sizes.PackPieces, operations, new GemmPackAction(native, pass, shared));
                Work.For((int)sizes.Pieces, operations, new GemmAction(native, pass, shared, (nint)sizes.Workspace));
            }
        }
        finally
        {
            packed.Release();
        }
    }

    private readonly struct GemmPackAction(Native.GemmArguments arguments, int pass, float* packed) : IPieceAction
    {
        public void Invoke(int piece)
        {
            Native.GemmArguments local = arguments;
            Status.ThrowIfFailed(Kernels.GemmPack(&local, pass, piece, piece + 1, packed));
        }
    }

    private readonly struct GemmAction(Native.GemmArguments arguments, int pass, float* packed, nint workspace) : IPieceAction
    {
        public void Invoke(int piece)
        {
            Native.GemmArguments local = arguments;
            Status.ThrowIfFailed(Kernels.Gemm(&local, pass, piece, piece + 1, packed, Scratch.Take(workspace)));
        }
    }

    // A run of pieces, operands copied by itself.
    private readonly struct GemmRunAction(Native.GemmArguments arguments, int pass, int pieces, int runs, nint workspace) : IPieceAction
    {
        public void Invoke(int piece)
        {
            Native.GemmArguments local = arguments;
            long begin = (long)pieces * piece / runs, end = (long)pieces * (piece + 1) / runs;
            Status.ThrowIfFailed(Kernels.Gemm(&local, pass, begin, end, null, Scratch.Take(workspace)));
        }
    }

    private readonly struct BatchedGemmAction(Native.GemmArguments arguments, int batch, int together) : IPieceAction
    {
        public void Invoke(int piece)
        {
            Native.GemmArguments local = arguments;
            long begin = (long)piece * together;
            Status.ThrowIfFailed(Kernels.BatchedGemm(&local, batch, begin, Math.Min(batch, begin + together)));
        }
    }
}
