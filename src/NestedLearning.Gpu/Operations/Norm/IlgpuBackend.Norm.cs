using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    public override void NormForward(NormKind kind, Tensor x, Tensor? gain, Tensor? bias, float epsilon, Tensor y) =>
        Launch(NormKernels.Forward, x.Shape.Rows, new NormArguments
        {
            X = View(x), Gain = View(gain), Bias = View(bias), Y = View(y), Kind = (int)kind, Epsilon = epsilon,
            Rows = x.Shape.Rows, Width = x.Shape.Last,
        });

    public override void NormBackward(
        NormKind kind, Tensor x, Tensor? gain, float epsilon, Tensor dy, Tensor? dx, Tensor? dGain, Tensor? dBias)
    {
        int rows = x.Shape.Rows, width = x.Shape.Last, blocks = Blocks(rows);
        using var workspace = new Workspace(this);
        var arguments = new NormArguments
        {
            X = View(x), Gain = View(gain), DY = View(dy), DX = View(dx), Kind = (int)kind, Epsilon = epsilon,
            Rows = rows, Width = width, Blocks = blocks,
            Statistics = workspace.Take(3L * rows).View,
        };
        Launch(NormKernels.Backward, rows, arguments);
        if (dGain is null && dBias is null)
            return;
        arguments.Parts = Doubles(workspace, 2L * blocks * width);
        LaunchItems(NormKernels.GainBlocks, (long)blocks * width, arguments);
        var total = new ColumnSumArguments { Parts = arguments.Parts, Width = width, Blocks = blocks, Sums = 2, TargetStride = 1 };
        if (dBias is not null)
            LaunchItems(ColumnSumKernels.Total, width, total with { Target = View(dBias) });
        if (dGain is not null)
            LaunchItems(ColumnSumKernels.Total, width, total with { Target = View(dGain), Sum = 1 });
    }
}
