using NestedLearning.Native;

namespace NestedLearning;

internal sealed unsafe partial class CpuBackend
{
    // Elements of a piece where rows are cut: 64 KiB of each operand.
    private const int RowsPiece = 1 << 14;

    public override void Gemm(in GemmArguments arguments) => Gemm(
        new Native.GemmArguments
        {
            Size = (uint)sizeof(Native.GemmArguments),
            TransposeA = arguments.TransposeA ? 1 : 0,
            TransposeB = arguments.TransposeB ? 1 : 0,
            Epilogue = (int)arguments.Epilogue,
            Accumulate = arguments.Accumulate ? 1 : 0,
            M = arguments.M,
            N = arguments.N,
            K = arguments.K,
            A = arguments.A.Pointer,
            B = arguments.B.Pointer,
            C = arguments.C.Pointer,
            Bias = PointerOrNull(arguments.Bias),
            PreActivation = PointerOrNull(arguments.PreActivation),
            Residual = PointerOrNull(arguments.Residual),
            ResidualScale = arguments.ResidualScale,
            Precision = (int)arguments.Precision,
            Symmetric = arguments.Symmetric ? 1 : 0,
        });

    public override void ColumnSum(Tensor x, Tensor sums) => ColumnSum(x.Pointer, x.Shape.Rows, x.Shape.Last, sums.Pointer);

    public override void NormForward(NormKind kind, Tensor x, Tensor? gain, Tensor? bias, float epsilon, Tensor y)
    {
        NormArguments native = Norm(kind, x, gain, epsilon);
        native.Bias = PointerOrNull(bias);
        native.Y = y.Pointer;
        int rows = RowsOfPiece(x.Shape.Last);
        Work.For(Pieces(x.Shape.Rows, rows), x.Count, new RowsAction<NormArguments>(native, native.Rows, rows, &Kernels.NormForward));
    }

    public override void NormBackward(NormKind kind, Tensor x, Tensor? gain, float epsilon, Tensor dy, Tensor? dx, Tensor? dGain, Tensor? dBias)
    {
        NormArguments native = Norm(kind, x, gain, epsilon);
        native.DY = dy.Pointer;
        native.DX = PointerOrNull(dx);
        int columns = x.Shape.Last;
        int blocks = Pieces(x.Shape.Rows, Kernels.NormBlock);
        // Each block's sums apart, to be added in the order of the blocks. The pieces themselves take no scratch.
        nint size = (nint)blocks * columns;
        float* sums = dGain is null && dBias is null ? null : Scratch.Take(2 * size);
        native.DGain = dGain is null ? null : sums;
        native.DBias = dBias is null ? null : sums + size;
        Work.For(blocks, 2L * x.Count, new PieceAction<NormArguments>(native, &Kernels.NormBackward));
        if (dGain is not null)
            ColumnSum(native.DGain, blocks, columns, dGain.Pointer);
        if (dBias is not null)
            ColumnSum(native.DBias, blocks, columns, dBias.Pointer);
    }

    public override void CausalConvolutionForward(Tensor x, Tensor weight, Tensor? bias, Tensor? state, Tensor y, Tensor? nextState)
    {
        ConvolutionArguments native = Convolution(x, weight, state);
        native.Bias = PointerOrNull(bias);
        native.Y = y.Pointer;
        Work.For(TimeBlocks(native), 4L * x.Count, new WorkspaceAction<ConvolutionArguments>(native, WorkspaceOf(native), &Kernels.ConvolutionForward));
        if (nextState is not null)
            CarryState(native, nextState.Pointer);
    }

    public override void CausalConvolutionBackward(Tensor x, Tensor weight, Tensor? state, Tensor dy, Tensor? dx, Tensor? dWeight, Tensor? dBias)
    {
        ConvolutionArguments native = Convolution(x, weight, state);
        native.DY = dy.Pointer;
        native.DX = PointerOrNull(dx);
        native.DWeight = PointerOrNull(dWeight);
        native.DBias = PointerOrNull(dBias);
        if (dx is not null)
            Work.For(TimeBlocks(native), 4L * x.Count, new WorkspaceAction<ConvolutionArguments>(native, WorkspaceOf(native), &Kernels.ConvolutionBackwardInput));
        if (dWeight is not null || dBias is not null)
            Work.For(Pieces((int)native.Channels, Kernels.ConvolutionChannels), 5L * x.Count, new PieceAction<ConvolutionArguments>(native, &Kernels.ConvolutionBackwardWeight));
    }

    public override double SumOfSquares(Tensor x)
    {
        int blocks = Pieces(x.Count, Kernels.SumBlock);
        double* sums = (double*)Scratch.Take(2 * blocks);
        Work.For(blocks, x.Count, new SumOfSquaresAction(x.Pointer, x.Count, sums));
        double sum = 0;
        for (int block = 0; block < blocks; block++)
            sum += sums[block];
        return sum;
    }

    public override void EmbeddingForward(IndexTensor tokens, Tensor table, Tensor y)
    {
        EmbeddingArguments native = Embedding(tokens, table.Shape);
        native.Table = table.Pointer;
        native.Y = y.Pointer;
        int rows = RowsOfPiece(table.Shape.Last);
        Work.For(Pieces(tokens.Count, rows), y.Count, new RowsAction<EmbeddingArguments>(native, native.Tokens, rows, &Kernels.EmbeddingForward));
    }

    public override void EmbeddingBackward(IndexTensor tokens, Tensor dy, Tensor dTable)
    {
        EmbeddingArguments native = Embedding(tokens, dTable.Shape);
        native.DY = dy.Pointer;
        native.DTable = dTable.Pointer;
        Work.For(Pieces(dTable.Shape.Last, Kernels.ColumnBlock), dy.Count, new PieceAction<EmbeddingArguments>(native, &Kernels.EmbeddingBackward));
    }

    public override void CrossEntropyForward(Tensor logits, IndexTensor targets, Tensor losses, Tensor logSums)
    {
        CrossEntropyArguments native = CrossEntropy(logits, targets, logSums);
        native.Losses = losses.Pointer;
        int rows = RowsOfPiece(logits.Shape.Last);
        Work.For(Pieces(logits.Shape.Rows, rows), 4L * logits.Count, new RowsAction<CrossEntropyArguments>(native, native.Rows, rows, &Kernels.CrossEntropyForward));
    }

    public override void CrossEntropyBackward(Tensor logits, IndexTensor targets, Tensor logSums, Tensor dLosses, Tensor dLogits)
    {
        CrossEntropyArguments native = CrossEntropy(logits, targets, logSums);
        native.DLosses = dLosses.Pointer;
        native.DLogits = dLogits.Pointer;
        int rows = RowsOfPiece(logits.Shape.Last);
        Work.For(Pieces(logits.Shape.Rows, rows), 4L * logits.Count, new RowsAction<CrossEntropyArguments>(native, native.Rows, rows, &Kernels.CrossEntropyBackward));
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

    private static int Pieces(int count, int block) => (count + block - 1) / block;

    private static int RowsOfPiece(int columns) => Math.Max(1, RowsPiece / Math.Max(1, columns));

    private static NormArguments Norm(NormKind kind, Tensor x, Tensor? gain, float epsilon) => new()
    {
        Size = (uint)sizeof(NormArguments),
        Kind = (int)kind,
        Rows = x.Shape.Rows,
        Columns = x.Shape.Last,
        Epsilon = epsilon,
        X = x.Pointer,
        Gain = PointerOrNull(gain),
    };

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

    private static EmbeddingArguments Embedding(IndexTensor tokens, Shape table) => new()
    {
        Size = (uint)sizeof(EmbeddingArguments),
        Tokens = tokens.Count,
        Columns = table.Last,
        Rows = table.Rows,
        Indices = tokens.Pointer,
    };

    private static CrossEntropyArguments CrossEntropy(Tensor logits, IndexTensor targets, Tensor? logSums) => new()
    {
        Size = (uint)sizeof(CrossEntropyArguments),
        Rows = logits.Shape.Rows,
        Columns = logits.Shape.Last,
        Logits = logits.Pointer,
        Targets = targets.Pointer,
        LogSums = PointerOrNull(logSums),
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
        Work.For(Pieces(columns, Kernels.ColumnBlock), (long)rows * columns, new PieceAction<ColumnSumArguments>(native, &Kernels.ColumnSum));
    }

    private readonly struct SumOfSquaresAction(float* x, int count, double* sums) : IPieceAction
    {
        public void Invoke(int piece) => Status.ThrowIfFailed(Kernels.SumOfSquares(x, count, sums, piece, piece + 1));
    }

    private readonly struct CrossEntropyWithGradientAction(CrossEntropyArguments arguments, int rows) : IPieceAction
    {
        public void Invoke(int piece)
        {
            CrossEntropyArguments local = arguments;
            long begin = (long)piece * rows;
            Status.ThrowIfFailed(Kernels.CrossEntropyWithGradient(&local, begin, Math.Min(local.Rows, begin + rows), Scratch.Take((nint)local.Columns)));
        }
    }
}
