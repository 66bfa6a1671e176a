using ILGPU;
using ILGPU.Algorithms;

namespace NestedLearning.Gpu.Kernels;

/// <summary>
/// C ← epilogue(rows ∘ (A (depth ∘ B)) + bias) + residualFactor ∘ residual, or that added to C. Rows, depth and residual
/// factors are vectors over i, k and i: columns of matrices.
/// </summary>
internal struct ProductArguments
{
    public Matrix A, B, C, Rows, Depth, Residual, ResidualFactor, PreActivation;
    public ArrayView<float> Bias;
    public Problems Problems;
    public int M, N, K;

    /// <summary>Whether M, or N, is the chunk's tokens, which may be fewer for the last.</summary>
    public int TokenRows, TokenColumns;
    public int Epilogue, Accumulate, RoundOperands;
    public float Scale = 1, ResidualScale = 1;

    public ProductArguments()
    {
    }
}

internal struct Float4
{
    public float X, Y, Z, W;

    // Written out, as a struct stays in registers and an array may not.
    public static Float4 AddProduct(Float4 sum, float a, Float4 b) => new()
    {
        X = sum.X + a * b.X,
        Y = sum.Y + a * b.Y,
        Z = sum.Z + a * b.Z,
        W = sum.W + a * b.W,
    };

    public static Float4 Add(Float4 a, Float4 b) => new() { X = a.X + b.X, Y = a.Y + b.Y, Z = a.Z + b.Z, W = a.W + b.W };

    public readonly float At(int i) => i == 0 ? X : i == 1 ? Y : i == 2 ? Z : W;
}

/// <summary>Four rows of four sums.</summary>
internal struct Float4x4
{
    public Float4 R0, R1, R2, R3;

    public static Float4x4 Add(Float4x4 a, Float4x4 b) => new()
    {
        R0 = Float4.Add(a.R0, b.R0),
        R1 = Float4.Add(a.R1, b.R1),
        R2 = Float4.Add(a.R2, b.R2),
        R3 = Float4.Add(a.R3, b.R3),
    };

    public readonly Float4 At(int i) => i == 0 ? R0 : i == 1 ? R1 : i == 2 ? R2 : R3;
}

/// <summary>
/// Matrix products by tiles of 32 × 32 through shared memory, 4 × 4 sums a thread; sums of long k in blocks of
/// <see cref="Block"/>, so that they stay precise.
/// </summary>
internal static class ProductKernels
{
    public const int Tile = 32;

    private const int Depth = 16, Pitch = Tile + 4, Micros = Tile / 4 * (Tile / 4), Block = 256;

    public static void Product(ProductArguments p)
    {
        ArrayView<float> tileA = SharedMemory.Allocate<float>(Depth * Pitch), tileB = SharedMemory.Allocate<float>(Depth * Pitch);
        int across = (p.N + Tile - 1) / Tile, tiles = across * ((p.M + Tile - 1) / Tile);
        for (long work = Grid.IdxX; work < (long)tiles * p.Problems.Count; work += Grid.DimX)
        {
            int tile = (int)(work % tiles);
            Problem problem = p.Problems.At((int)(work / tiles));
            for (int micro = Group.IdxX; micro < Micros; micro += Group.DimX)
            {
                int tokens = p.Problems.LengthOf(problem);
                int m = p.TokenRows != 0 ? tokens : p.M, n = p.TokenColumns != 0 ? tokens : p.N;
                Float4x4 sums = Sum(p, problem, tile / across * Tile, tile % across * Tile, m, n, micro, tileA, tileB);
                int row = tile / across * Tile + micro / (Tile / 4) * 4, column = tile % across * Tile + micro % (Tile / 4) * 4;
                for (int i = 0; i < 4; i++)
                {
                    Float4 sumRow = sums.At(i);
                    for (int j = 0; j < 4; j++)
                    {
                        if (row + i < m && column + j < n)
                            Store(p, problem, row + i, column + j, sumRow.At(j));
                    }
                }
            }
        }
    }

    /// <summary>The 4 × 4 sums of a micro tile; all threads of the group come here together.</summary>
    public static Float4x4 Sum(
        ProductArguments p, Problem problem, int row, int column, int m, int n, int micro, ArrayView<float> tileA, ArrayView<float> tileB)
    {
        long a = p.A.Offset(problem), b = p.B.Offset(problem), depth = p.Depth.Offset(problem);
        int microRow = micro / (Tile / 4) * 4, microColumn = micro % (Tile / 4) * 4;
        Float4x4 sum = default, part = default;
        for (int start = 0; start < p.K; start += Depth)
        {
            Group.Barrier();
            for (int i = Group.IdxX; i < Depth * Tile; i += Group.DimX)
            {
                // Neighbouring threads take neighbouring elements of memory.
                int k = p.A.Column == 1 ? i % Depth : i / Tile, at = p.A.Column == 1 ? i / Depth : i % Tile;
                float value = 0;
                if (start + k < p.K && row + at < m)
                    value = p.A.View[a + (long)(row + at) * p.A.Row + (long)(start + k) * p.A.Column];
                tileA[k * Pitch + at] = p.RoundOperands != 0 ? Functions.RoundToBFloat16(value) : value;

                k = p.B.Row == 1 ? i % Depth : i / Tile;
                at = p.B.Row == 1 ? i / Depth : i % Tile;
                value = 0;
                if (start + k < p.K && column + at < n)
                {
                    value = p.B.View[b + (long)(start + k) * p.B.Row + (long)(column + at) * p.B.Column];
                    if (p.Depth.Given)
                        value *= p.Depth.View[depth + (long)(start + k) * p.Depth.Row];
                }

                tileB[k * Pitch + at] = p.RoundOperands != 0 ? Functions.RoundToBFloat16(value) : value;
            }

            Group.Barrier();
            for (int k = 0; k < Depth; k++)
            {
                int atA = k * Pitch + microRow, atB = k * Pitch + microColumn;
                Float4 values = new() { X = tileB[atB], Y = tileB[atB + 1], Z = tileB[atB + 2], W = tileB[atB + 3] };
                part.R0 = Float4.AddProduct(part.R0, tileA[atA], values);
                part.R1 = Float4.AddProduct(part.R1, tileA[atA + 1], values);
                part.R2 = Float4.AddProduct(part.R2, tileA[atA + 2], values);
                part.R3 = Float4.AddProduct(part.R3, tileA[atA + 3], values);
            }

            if ((start + Depth) % Block == 0)
            {
                sum = Float4x4.Add(sum, part);
                part = default;
            }
        }

        return Float4x4.Add(sum, part);
    }

    private static void Store(ProductArguments p, Problem problem, int i, int j, float sum)
    {
        float value = sum * p.Scale;
        if (p.Rows.Given)
            value *= p.Rows.View[p.Rows.Offset(problem) + (long)i * p.Rows.Row];
        if (p.Bias.Length != 0)
            value += p.Bias[j];
        value = Functions.Flush(value);
        if (p.Epilogue == (int)Epilogue.Gelu)
        {
            if (p.PreActivation.Given)
                p.PreActivation.View[p.PreActivation.Offset(problem) + (long)i * p.PreActivation.Row + j] = value;
            value = Functions.Gelu(value);
        }
        else if (p.Epilogue == (int)Epilogue.GeluGradient)
        {
            value *= Functions.GeluDerivative(p.PreActivation.View[p.PreActivation.Offset(problem) + (long)i * p.PreActivation.Row + j]);
        }

        if (p.Residual.Given)
        {
            float factor = p.ResidualScale;
            if (p.ResidualFactor.Given)
                factor *= p.ResidualFactor.View[p.ResidualFactor.Offset(problem) + (long)i * p.ResidualFactor.Row];
            value += factor * p.Residual.View[p.Residual.Offset(problem) + (long)i * p.Residual.Row + (long)j * p.Residual.Column];
        }

        long at = p.C.Offset(problem) + (long)i * p.C.Row + (long)j * p.C.Column;
        p.C.View[at] = Functions.Flush(p.Accumulate != 0 ? p.C.View[at] + value : value);
    }
}
