namespace NestedLearning.Gpu.Cuda;

internal sealed unsafe partial class CudaBackend
{
    public override void GemmAdamCommit(Tensor x, Tensor dy, Tensor? accumulated, Tensor w, Tensor m, Tensor v, AdamSettings settings)
    {
        int rows = w.Shape[0], columns = w.Shape[1];
        (int tile, long blocks) = Tile(rows, columns);
        int sharedBytes = GemmKernels.SharedBytes(TensorCores, tile);
        if (!CanRun(GemmAdamKernels.File, out string? reason) || !Fits(sharedBytes, blocks, out reason))
        {
            FallBack(reason);
            base.GemmAdamCommit(x, dy, accumulated, w, m, v, settings);
            return;
        }

        Launch(GemmAdamKernels.For(TensorCores, tile), blocks, GemmKernels.Threads(TensorCores, tile), sharedBytes, new()
        {
            X = Pointer(x),
            Dy = Pointer(dy),
            Adam = Adam(w, accumulated, m, v, settings),
            M = rows,
            N = columns,
            K = rows == 0 ? 0 : x.Count / rows,
        });
    }
}
