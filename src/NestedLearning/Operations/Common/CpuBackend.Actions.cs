using NestedLearning.Native;

namespace NestedLearning;

internal sealed unsafe partial class CpuBackend
{
    // Elements of a piece where rows are cut: 64 KiB of each operand.
    private const int RowsPiece = 1 << 14;

    private static int RowsOfPiece(int columns) => Math.Max(1, RowsPiece / Math.Max(1, columns));

    // What kernels take by a pointer is copied for each call, as an action itself may move.

    private readonly struct PieceAction<TArguments>(TArguments arguments, delegate*<TArguments*, long, long, int> kernel) : IPieceAction
        where TArguments : unmanaged
    {
        public void Invoke(int piece)
        {
            TArguments local = arguments;
            Status.ThrowIfFailed(kernel(&local, piece, piece + 1L));
        }
    }

    private readonly struct RowsAction<TArguments>(TArguments arguments, long total, int rows, delegate*<TArguments*, long, long,
        int> kernel) : IPieceAction
        where TArguments : unmanaged
    {
        public void Invoke(int piece)
        {
            TArguments local = arguments;
            long begin = (long)piece * rows;
            Status.ThrowIfFailed(kernel(&local, begin, Math.Min(total, begin + rows)));
        }
    }

    private readonly struct WorkspaceAction<TArguments>(TArguments arguments, long workspace, delegate*<TArguments*, long, long, float*,
        int> kernel) : IPieceAction
        where TArguments : unmanaged
    {
        public void Invoke(int piece)
        {
            TArguments local = arguments;
            Status.ThrowIfFailed(kernel(&local, piece, piece + 1L, Scratch.Take((nint)workspace)));
        }
    }

    private readonly struct GradientAction<TArguments, TGradients>(
        TArguments arguments, TGradients gradients, long workspace, delegate*<TArguments*, TGradients*, long, long, float*, int> kernel)
        : IPieceAction
        where TArguments : unmanaged
        where TGradients : unmanaged
    {
        public void Invoke(int piece)
        {
            TArguments local = arguments;
            TGradients localGradients = gradients;
            Status.ThrowIfFailed(kernel(&local, &localGradients, piece, piece + 1L, Scratch.Take((nint)workspace)));
        }
    }
}
