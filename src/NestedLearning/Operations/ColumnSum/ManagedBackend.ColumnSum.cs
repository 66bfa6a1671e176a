using System.Buffers;
using System.Numerics;

namespace NestedLearning;

internal sealed unsafe partial class ManagedBackend
{
    // sums [N] += Σ over rows of x [M,N]
    public override void ColumnSum(Tensor x, Tensor sums)
    {
        int rows = x.Shape.Rows, width = x.Shape.Last;
        Work.For(Pieces(width, SumColumns), x.Count, new NormSumsAction(null, x.Pointer, null, sums.Pointer, rows, width, []));
    }
}
