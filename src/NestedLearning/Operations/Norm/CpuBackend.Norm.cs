using NestedLearning.Native;

namespace NestedLearning;

internal sealed unsafe partial class CpuBackend
{
    public override void NormForward(Operations.NormKind kind, Tensor x, Tensor? gain, Tensor? bias, float epsilon, Tensor y)
    {
        NormArguments native = Norm(kind, x, gain, epsilon);
        native.Bias = PointerOrNull(bias);
        native.Y = y.Pointer;
        int rows = RowsOfPiece(x.Shape.Last);
        Work.For(Pieces(x.Shape.Rows, rows), x.Count, new RowsAction<NormArguments>(native, native.Rows, rows, &Kernels.NormForward));
    }

    public override void NormBackward(Operations.NormKind kind, Tensor x, Tensor? gain, float epsilon, Tensor dy, Tensor? dx, Tensor? dGain,
        Tensor? dBias)
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

    private static NormArguments Norm(Operations.NormKind kind, Tensor x, Tensor? gain, float epsilon) => new()
    {
        Size = (uint)sizeof(NormArguments),
        Kind = (int)kind,
        Rows = x.Shape.Rows,
        Columns = x.Shape.Last,
        Epsilon = epsilon,
        X = x.Pointer,
        Gain = PointerOrNull(gain),
    };
}
