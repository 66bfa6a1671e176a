using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    public override void CausalConvolutionForward(Tensor x, Tensor weight, Tensor? bias, Tensor? state, Tensor y, Tensor? nextState)
    {
        ConvolutionArguments arguments = Convolution(x, weight, state) with { Bias = View(bias), Y = View(y), NextState = View(nextState) };
        LaunchItems(ConvolutionKernels.Forward, x.Count, arguments);
        if (nextState is not null)
            LaunchItems(ConvolutionKernels.Carry, (long)arguments.Batch * arguments.Width, arguments);
    }

    public override void CausalConvolutionBackward(
        Tensor x, Tensor weight, Tensor? state, Tensor dy, Tensor? dx, Tensor? dWeight, Tensor? dBias)
    {
        ConvolutionArguments arguments = Convolution(x, weight, state) with { DY = View(dy), DX = View(dx) };
        if (dx is not null)
            LaunchItems(ConvolutionKernels.Backward, x.Count, arguments);
        if (dWeight is null && dBias is null)
            return;
        using var workspace = new Workspace(this);
        arguments.Blocks = Blocks(arguments.Batch * arguments.Time);
        arguments.Parts = Doubles(workspace, (long)arguments.Blocks * (ConvolutionKernels.Taps + 1) * arguments.Width);
        LaunchItems(ConvolutionKernels.WeightBlocks, (long)arguments.Blocks * arguments.Width, arguments);
        var total = new ColumnSumArguments
        {
            Parts = arguments.Parts, Width = arguments.Width, Blocks = arguments.Blocks, Sums = ConvolutionKernels.Taps + 1,
        };
        for (int tap = 0; tap < ConvolutionKernels.Taps && dWeight is not null; tap++)
        {
            LaunchItems(ColumnSumKernels.Total, arguments.Width, total with
            {
                Target = View(dWeight),
                Sum = tap,
                TargetStart = tap,
                TargetStride = ConvolutionKernels.Taps,
            });
        }

        if (dBias is not null)
        {
            LaunchItems(ColumnSumKernels.Total, arguments.Width, total with
            {
                Target = View(dBias),
                Sum = ConvolutionKernels.Taps,
                TargetStride = 1,
            });
        }
    }

    private static ConvolutionArguments Convolution(Tensor x, Tensor weight, Tensor? state) => new()
    {
        X = View(x), Weight = View(weight), State = View(state), Batch = x.Shape[0], Time = x.Shape[1], Width = x.Shape[2],
    };
}
