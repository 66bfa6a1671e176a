using ILGPU;
using ILGPU.Algorithms;

namespace NestedLearning.Gpu.Kernels;

/// <summary>Sums over the rows of x [rows, width], in blocks of rows whose sums are then added in order, in double.</summary>
internal struct ColumnSumArguments
{
    public ArrayView<float> X, Target;

    /// <summary>[blocks, sums, width].</summary>
    public ArrayView<double> Parts;
    public int Rows, Width, Blocks, Sums, Sum, TargetStride, TargetStart;
}

internal static class ColumnSumKernels
{
    /// <summary>Rows of a block.</summary>
    public const int Block = 64;

    // parts[block] = Σ of the block's rows
    public static void Blocks(ColumnSumArguments a)
    {
        for (long i = Groups.First; i < (long)a.Blocks * a.Width; i += Groups.Stride)
        {
            int block = (int)(i / a.Width), column = (int)(i % a.Width);
            double sum = 0;
            for (int row = block * Block; row < XMath.Min(a.Rows, (block + 1) * Block); row++)
                sum += a.X[(long)row * a.Width + column];
            a.Parts[i] = sum;
        }
    }

    // target[start + column stride] += Σ_blocks parts[block, sum, column]
    public static void Total(ColumnSumArguments a)
    {
        for (long column = Groups.First; column < a.Width; column += Groups.Stride)
        {
            double sum = 0;
            for (int block = 0; block < a.Blocks; block++)
                sum += a.Parts[((long)block * a.Sums + a.Sum) * a.Width + column];
            long at = a.TargetStart + column * a.TargetStride;
            a.Target[at] = Functions.Flush((float)(a.Target[at] + sum));
        }
    }
}
