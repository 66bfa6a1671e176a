namespace NestedLearning;

// Cross-entropy fused with the product that makes its logits, by blocks of rows: product, cross-entropy in place, products.
// A block is large, so that few passes are made over the weight and its gradient.
public abstract partial class Backend
{
    // Logits of a block: 32 MiB.
    private const int BlockLogits = 1 << 23;

    // Fewer rows would make products that are bound by reading the weight.
    private const int LeastRows = 64;

    /// <summary>
    /// The cross-entropy of the logits x Wᵀ, x [N, D], W [V, D], of which only blocks of rows are ever in memory. losses and
    /// logSums [N] as <see cref="CrossEntropyForward"/> writes them.
    /// </summary>
    public void LinearCrossEntropyForward(Tensor x, Tensor weight, IndexTensor targets, Tensor losses, Tensor logSums) =>
        ForEachBlock(x, weight, (first, rows, logits) =>
        {
            using IndexTensor blockTargets = Rows(targets, first, rows);
            using Tensor blockLosses = Elements(losses, first, rows), blockSums = Elements(logSums, first, rows);
            CrossEntropyForward(logits, blockTargets, blockLosses, blockSums);
        });

    /// <summary>dx = its gradient, dWeight += the other one; null is not wanted. The logits are computed again.</summary>
    public void LinearCrossEntropyBackward(Tensor x, Tensor weight, IndexTensor targets, Tensor logSums, Tensor dLosses, Tensor? dx,
        Tensor? dWeight) =>
        ForEachBlock(x, weight, (first, rows, logits) =>
        {
            using IndexTensor blockTargets = Rows(targets, first, rows);
            using Tensor blockSums = Elements(logSums, first, rows), blockGradients = Elements(dLosses, first, rows);
            CrossEntropyBackward(logits, blockTargets, blockSums, blockGradients, logits);
            ProductGradients(x, weight, first, rows, logits, dx, dWeight);
        });

    /// <summary>Both at once, with gradientScale for each upstream gradient: the logits are computed once.</summary>
    public void LinearCrossEntropyWithGradient(Tensor x, Tensor weight, IndexTensor targets, float gradientScale, Tensor losses, Tensor? dx,
        Tensor? dWeight) =>
        ForEachBlock(x, weight, (first, rows, logits) =>
        {
            using IndexTensor blockTargets = Rows(targets, first, rows);
            using Tensor blockLosses = Elements(losses, first, rows);
            CrossEntropyWithGradient(logits, blockTargets, gradientScale, blockLosses, logits);
            ProductGradients(x, weight, first, rows, logits, dx, dWeight);
        });

    private void ForEachBlock(Tensor x, Tensor weight, Action<int, int, Tensor> body)
    {
        int all = x.Shape.Rows, classes = weight.Shape[0];
        int block = Math.Min(all, Math.Max(LeastRows, BlockLogits / classes));
        using Tensor logits = x.Device.Empty([block, classes]);
        for (int first = 0; first < all; first += block)
        {
            int rows = Math.Min(block, all - first);
            using Tensor blockX = Rows(x, first, rows), blockLogits = Rows(logits, 0, rows);
            Gemm(new GemmArguments { A = blockX, B = weight, TransposeB = true, C = blockLogits });
            body(first, rows, blockLogits);
        }
    }

    private void ProductGradients(Tensor x, Tensor weight, int first, int rows, Tensor dLogits, Tensor? dx, Tensor? dWeight)
    {
        if (dx is not null)
        {
            using Tensor blockDx = Rows(dx, first, rows);
            Gemm(new GemmArguments { A = dLogits, B = weight, C = blockDx });
        }

        if (dWeight is not null)
        {
            using Tensor blockX = Rows(x, first, rows);
            Gemm(new GemmArguments { A = dLogits, TransposeA = true, B = blockX, C = dWeight, Accumulate = true });
        }
    }

    // Views of some rows.
    private static Tensor Rows(Tensor tensor, int first, int rows)
    {
        int columns = tensor.Shape.Last;
        return new Tensor(tensor.Device, [rows, columns], tensor.Storage.Part(first * columns, rows * columns));
    }

    private static Tensor Elements(Tensor tensor, int first, int count) =>
        new(tensor.Device, [count], tensor.Storage.Part(first, count));

    private static IndexTensor Rows(IndexTensor indices, int first, int count) =>
        new(indices.Device, [count], indices.Storage.Part(first, count), indices.Minimum, indices.Maximum);
}
