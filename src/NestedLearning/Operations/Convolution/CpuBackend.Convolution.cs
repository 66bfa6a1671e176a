using NestedLearning.Native;

namespace NestedLearning;

internal sealed unsafe partial class CpuBackend
{
    public override void CausalConvolutionForward(Tensor x, Tensor weight, Tensor? bias, Tensor? state, Tensor y, Tensor? nextState)
    {
        ConvolutionArguments native = Convolution(x, weight, state);
        native.Bias = PointerOrNull(bias);
        native.Y = y.Pointer;
        Work.For(TimeBlocks(native), 4L * x.Count,
            new WorkspaceAction<ConvolutionArguments>(native, WorkspaceOf(native), &Kernels.ConvolutionForward));
        if (nextState is not null)
            CarryState(native, nextState.Pointer);
    }

    public override void CausalConvolutionBackward(Tensor x, Tensor weight, Tensor? state, Tensor dy, Tensor? dx, Tensor? dWeight,
        Tensor? dBias)
    {
        ConvolutionArguments native = Convolution(x, weight, state);
        native.DY = dy.Pointer;
        native.DX = PointerOrNull(dx);
        native.DWeight = PointerOrNull(dWeight);
        native.DBias = PointerOrNull(dBias);
        if (dx is not null)
            Work.For(TimeBlocks(native), 4L * x.Count,
                new WorkspaceAction<ConvolutionArguments>(native, WorkspaceOf(native), &Kernels.ConvolutionBackwardInput));
        if (dWeight is not null || dBias is not null)
            Work.For(Pieces((int)native.Channels, Kernels.ConvolutionChannels), 5L * x.Count,
                new PieceAction<ConvolutionArguments>(native, &Kernels.ConvolutionBackwardWeight));
    }

    private static ConvolutionArguments Convolution(Tensor x, Tensor weight, Tensor? state) => new()
    {
        Size = (uint)sizeof(ConvolutionArguments),
        Batch = x.Shape[0],
        Time = x.Shape[1],
        Channels = x.Shape[2],
        X = x.Pointer,
        Weight = weight.Pointer,
        State = PointerOrNull(state),
    };

    private static int TimeBlocks(in ConvolutionArguments native) =>
        (int)native.Batch * Pieces((int)native.Time, Kernels.ConvolutionTime);

    private static nint WorkspaceOf(ConvolutionArguments native)
    {
        long workspace;
        Status.ThrowIfFailed(Kernels.ConvolutionWorkspace(&native, &workspace));
        return (nint)workspace;
    }

    // The last three tokens of each sequence, older ones from the state. Rows go upwards and come from at least as far
    // up, so next may be the state itself.
    private static void CarryState(in ConvolutionArguments native, float* next)
    {
        int channels = (int)native.Channels;
        for (long b = 0; b < native.Batch; b++)
        {
            for (long row = 0; row < 3; row++)
            {
                long t = native.Time - 3 + row;
                var destination = new Span<float>(next + (b * 3 + row) * channels, channels);
                if (t >= 0)
                    new Span<float>(native.X + (b * native.Time + t) * channels, channels).CopyTo(destination);
                else if (native.State != null)
                    new Span<float>(native.State + (b * 3 + t + 3) * channels, channels).CopyTo(destination);
                else
                    destination.Clear();
            }
        }
    }
}
