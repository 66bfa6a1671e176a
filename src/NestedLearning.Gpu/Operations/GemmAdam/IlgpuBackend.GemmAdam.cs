using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    public override void GemmAdamCommit(Tensor x, Tensor dy, Tensor? accumulated, Tensor w, Tensor m, Tensor v, AdamSettings settings)
    {
        int rows = w.Shape[0], columns = w.Shape[1];
        AdamTensor adam = Adam(w, accumulated, m, v, settings);
        var product = new ProductArguments
        {
            A = RowMajor(x, rows, transpose: true),
            B = RowMajor(dy, columns),
            Problems = s_one,
            M = rows,
            N = columns,
            K = rows == 0 ? 0 : x.Count / rows,
        };
        Launch(GemmAdamKernels.Commit, Tiles(rows, columns), new ProductAdamArguments { Product = product, Adam = adam });
    }
}
