using ILGPU;
using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    public override void ColumnSum(Tensor x, Tensor sums)
    {
        int rows = x.Shape.Rows, width = x.Shape.Last, blocks = Blocks(rows);
        using var workspace = new Workspace(this);
        var arguments = new ColumnSumArguments
        {
            X = View(x), Target = View(sums), Parts = Doubles(workspace, (long)blocks * width),
            Rows = rows, Width = width, Blocks = blocks, Sums = 1, TargetStride = 1,
        };
        LaunchItems(ColumnSumKernels.Blocks, (long)blocks * width, arguments);
        LaunchItems(ColumnSumKernels.Total, width, arguments);
    }

    private static int Blocks(int rows) => (rows + ColumnSumKernels.Block - 1) / ColumnSumKernels.Block;

    private static ArrayView<double> Doubles(Workspace workspace, long count) => workspace.Take(2 * count).View.Cast<double>();
}
