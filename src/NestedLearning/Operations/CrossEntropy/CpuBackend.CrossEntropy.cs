using NestedLearning.Native;

namespace NestedLearning;

internal sealed unsafe partial class CpuBackend
{
    public override void CrossEntropyForward(Tensor logits, IndexTensor targets, Tensor losses, Tensor logSums)
    {
        CrossEntropyArguments native = CrossEntropy(logits, targets, logSums);
        native.Losses = losses.Pointer;
        int rows = RowsOfPiece(logits.Shape.Last);
        Work.For(Pieces(logits.Shape.Rows, rows), 4L * logits.Count,
            new RowsAction<CrossEntropyArguments>(native, native.Rows, rows, &Kernels.CrossEntropyForward));
    }

    public override void CrossEntropyBackward(Tensor logits, IndexTensor targets, Tensor logSums, Tensor dLosses, Tensor dLogits)
    {
        CrossEntropyArguments native = CrossEntropy(logits, targets, logSums);
        native.DLosses = dLosses.Pointer;
        native.DLogits = dLogits.Pointer;
        int rows = RowsOfPiece(logits.Shape.Last);
        Work.For(Pieces(logits.Shape.Rows, rows), 4L * logits.Count,
            new RowsAction<CrossEntropyArguments>(native, native.Rows, rows, &Kernels.CrossEntropyBackward));
    }

    public override void CrossEntropyWithGradient(Tensor logits, IndexTensor targets, float gradientScale, Tensor losses, Tensor dLogits)
    {
        CrossEntropyArguments native = CrossEntropy(logits, targets, null);
        native.GradientScale = gradientScale;
        native.Losses = losses.Pointer;
        native.DLogits = dLogits.Pointer;
        int rows = RowsOfPiece(logits.Shape.Last);
        Work.For(Pieces(logits.Shape.Rows, rows), 4L * logits.Count, new CrossEntropyWithGradientAction(native, rows));
    }

    private static CrossEntropyArguments CrossEntropy(Tensor logits, IndexTensor targets, Tensor? logSums) => new()
    {
        Size = (uint)sizeof(CrossEntropyArguments),
        Rows = logits.Shape.Rows,
        Columns = logits.Shape.Last,
        Logits = logits.Pointer,
        Targets = targets.Pointer,
        LogSums = PointerOrNull(logSums),
    };

    private readonly struct CrossEntropyWithGradientAction(CrossEntropyArguments arguments, int rows) : IPieceAction
    {
        public void Invoke(int piece)
        {
            CrossEntropyArguments local = arguments;
            long begin = (long)piece * rows;
            Status.ThrowIfFailed(Kernels.CrossEntropyWithGradient(&local, begin, Math.Min(local.Rows, begin + rows),
                Scratch.Take((nint)local.Columns)));
        }
    }
}
