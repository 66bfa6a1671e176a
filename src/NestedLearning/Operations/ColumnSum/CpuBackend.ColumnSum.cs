using NestedLearning.Native;

namespace NestedLearning;

internal sealed unsafe partial class CpuBackend
{
    public override void ColumnSum(Tensor x, Tensor sums) => ColumnSum(x.Pointer, x.Shape.Rows, x.Shape.Last, sums.Pointer);

    private void ColumnSum(float* x, int rows, int columns, float* sums)
    {
        var native = new ColumnSumArguments
        {
            Size = (uint)sizeof(ColumnSumArguments),
            Rows = rows,
            Columns = columns,
            X = x,
            Sums = sums,
        };
        Work.For(Pieces(columns, Kernels.ColumnBlock), (long)rows * columns,
            new PieceAction<ColumnSumArguments>(native, &Kernels.ColumnSum));
    }
}
