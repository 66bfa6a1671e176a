using System.Numerics;

namespace NestedLearning;

internal sealed unsafe partial class ManagedBackend
{
    // C = op(A) op(B) or C += that, matrix by matrix
    // A [..,M,K] or [..,K,M]  B [..,K,N] or [..,N,K]  C [..,M,N]; tiles as in Gemm
    public override void BatchedGemm(Tensor a, Tensor b, Tensor c, bool transposeA, bool transposeB, bool accumulate)
    {
        if (c.Count == 0)
            return;
        var first = new GemmProduct(a, b, c, transposeA, transposeB, accumulate);
        int batch = c.Count / (first.M * first.N);
        Work.For(batch * Tiles(first, GemmTile.MaxRows, GemmTile.MaxColumns), batch * first.Operations, new BatchedGemmAction(first));
    }

    private static Tensor RoundedToBFloat16(Tensor x)
    {
        Tensor rounded = x.Device.Empty(x.Shape);
        VectorMath.Map<BFloat16Rounding>(x.Span, rounded.Span);
        return rounded;
    }

    private readonly struct BatchedGemmAction(GemmProduct first) : IPieceAction
    {
        public void Invoke(int piece)
        {
            int tiles = Tiles(first, GemmTile.MaxRows, GemmTile.MaxColumns);
            new GemmAction(new GemmProduct(first, piece / tiles), GemmTile.MaxRows, GemmTile.MaxColumns).Invoke(piece % tiles);
        }
    }

    // The tiles on and below the diagonal, row by row; each is mirrored.
    private readonly struct SymmetricGemmAction(GemmProduct product) : IPieceAction
    {
        public void Invoke(int piece)
        {
            int tile = 0;
            while (piece > tile)
                piece -= ++tile;
            int row = tile * SymmetricTile, column = piece * SymmetricTile;
            int rows = Math.Min(SymmetricTile, product.M - row), columns = Math.Min(SymmetricTile, product.N - column);
            new GemmTile(product, row, rows, column, columns).Compute();
            if (row == column)
                return;
            for (int i = row; i < row + rows; i++)
            {
                for (int j = column; j < column + columns; j++)
                    product.C[(nint)j * product.N + i] = product.C[(nint)i * product.N + j];
            }
        }
    }

    // To nearest, ties to even; a NaN stays one.
    private readonly struct BFloat16Rounding : IVectorFunction
    {
        public static Vector<float> Invoke(Vector<float> x)
        {
            Vector<uint> bits = Vector.AsVectorUInt32(x);
            Vector<uint> rounded = bits + new Vector<uint>(0x7FFF) + ((bits >> 16) & Vector<uint>.One);
            Vector<uint> nan = bits | new Vector<uint>(0x00400000);
            Vector<uint> result = Vector.ConditionalSelect(Vector.AsVectorUInt32(Vector.Equals(x, x)), rounded, nan);
            return Vector.AsVectorSingle(result & new Vector<uint>(0xFFFF0000));
        }
    }
}
