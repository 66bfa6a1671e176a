using System.Numerics;
using System.Runtime.CompilerServices;
using static NestedLearning.Operations.Subnormals;

namespace NestedLearning;

internal sealed unsafe partial class ManagedBackend
{
    // g = xᵀ dy (+ accumulated), a block of rows of w at a time, and the same step.
    public override void GemmAdamCommit(Tensor x, Tensor dy, Tensor? accumulated, Tensor w, Tensor m, Tensor v, AdamSettings settings)
    {
        var product = new GemmProduct(new GemmArguments { A = x, B = dy, TransposeA = true, C = w });
        var operands = new AdamOperands(w, accumulated, m, v, settings);
        if (operands.Count == 0)
            return;
        int across = (product.N + GemmTile.MaxColumns - 1) / GemmTile.MaxColumns;
        int pieces = (product.M + GemmTile.LeastRows - 1) / GemmTile.LeastRows * across;
        Work.For(pieces, 2L * operands.Count * Math.Max(product.K, 4), new GemmAdamAction(product, operands, across));
    }

    private readonly struct GemmAdamAction(GemmProduct product, AdamOperands operands, int across) : IPieceAction
    {
        public void Invoke(int piece)
        {
            int row = piece / across * GemmTile.LeastRows, column = piece % across * GemmTile.MaxColumns;
            int rows = Math.Min(GemmTile.LeastRows, product.M - row), columns = Math.Min(GemmTile.MaxColumns, product.N - column);
            var tile = new GemmTile(product, row, rows, column, columns);
            tile.Sum();
            var step = new AdamStep(operands);
            for (int i = 0; i < rows; i++)
            {
                Span<float> gradient = tile.Row(i);
                int begin = (row + i) * product.N + column;
                if (operands.G != null)
                {
                    var accumulated = new Span<float>(operands.G + begin, columns);
                    System.Numerics.Tensors.TensorPrimitives.Add(gradient, accumulated, gradient);
                    if (operands.Settings.ClearGradient)
                        accumulated.Clear();
                }

                step.Commit(begin, gradient);
            }
        }
    }
}
