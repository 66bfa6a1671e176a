using ILGPU;

namespace NestedLearning.Gpu.Kernels;

/// <summary>A weight's product of gradients, and the step that takes it.</summary>
internal struct ProductAdamArguments
{
    public ProductArguments Product;
    public AdamTensor Adam;
}

// AdamKernels' step with g = A B, tile by tile, plus what G has. The gradient is written nowhere.
internal static class GemmAdamKernels
{
    public static void Commit(ProductAdamArguments a)
    {
        ArrayView<float> tileA = SharedMemory.Allocate<float>(16 * 36), tileB = SharedMemory.Allocate<float>(16 * 36);
        const int Tile = ProductKernels.Tile, Micros = Tile / 4 * (Tile / 4);
        int n = a.Product.N, m = a.Product.M;
        int across = (n + Tile - 1) / Tile, tiles = across * ((m + Tile - 1) / Tile);
        for (int tile = Grid.IdxX; tile < tiles; tile += Grid.DimX)
        {
            for (int micro = Group.IdxX; micro < Micros; micro += Group.DimX)
            {
                Float4x4 sums = ProductKernels.Sum(a.Product, default, tile / across * Tile, tile % across * Tile, m, n, micro, tileA,
                    tileB);
                int row = tile / across * Tile + micro / (Tile / 4) * 4, column = tile % across * Tile + micro % (Tile / 4) * 4;
                for (int i = 0; i < 4; i++)
                {
                    Float4 sumRow = sums.At(i);
                    for (int j = 0; j < 4; j++)
                    {
                        if (row + i >= m || column + j >= n)
                            continue;
                        long at = (long)(row + i) * n + column + j;
                        float gradient = sumRow.At(j);
                        if (a.Adam.G.Length != 0)
                        {
                            gradient += a.Adam.G[at];
                            if (a.Adam.Constants.Clear != 0)
                                a.Adam.G[at] = 0;
                        }

                        AdamKernels.Step(a.Adam, at, gradient);
                    }
                }
            }
        }
    }
}
