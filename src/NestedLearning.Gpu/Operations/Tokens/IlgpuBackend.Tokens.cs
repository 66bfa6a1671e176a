using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    public override void CopyTokens(Tensor source, int sourceFirst, Tensor destination, int destinationFirst, int count, bool accumulate)
    {
        int batch = source.Shape[0];
        if (batch == 0 || count == 0)
            return;
        int width = destination.Count / (batch * destination.Shape[1]);
        LaunchItems(TokenKernels.Copy, (long)batch * count * width, new TokenArguments
        {
            Source = View(source),
            Destination = View(destination),
            Batch = batch,
            Count = count,
            Width = width,
            SourceTokens = source.Shape[1],
            SourceFirst = sourceFirst,
            DestinationTokens = destination.Shape[1],
            DestinationFirst = destinationFirst,
            Accumulate = accumulate ? 1 : 0,
        });
    }
}
