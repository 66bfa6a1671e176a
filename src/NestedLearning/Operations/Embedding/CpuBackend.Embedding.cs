using NestedLearning.Native;

namespace NestedLearning;

internal sealed unsafe partial class CpuBackend
{
    public override void EmbeddingForward(IndexTensor tokens, Tensor table, Tensor y)
    {
        EmbeddingArguments native = Embedding(tokens, table.Shape);
        native.Table = table.Pointer;
        native.Y = y.Pointer;
        int rows = RowsOfPiece(table.Shape.Last);
        Work.For(Pieces(tokens.Count, rows), y.Count,
            new RowsAction<EmbeddingArguments>(native, native.Tokens, rows, &Kernels.EmbeddingForward));
    }

    public override void EmbeddingBackward(IndexTensor tokens, Tensor dy, Tensor dTable)
    {
        EmbeddingArguments native = Embedding(tokens, dTable.Shape);
        native.DY = dy.Pointer;
        native.DTable = dTable.Pointer;
        Work.For(Pieces(dTable.Shape.Last, Kernels.ColumnBlock), dy.Count,
            new PieceAction<EmbeddingArguments>(native, &Kernels.EmbeddingBackward));
    }

    private static EmbeddingArguments Embedding(IndexTensor tokens, Shape table) => new()
    {
        Size = (uint)sizeof(EmbeddingArguments),
        Tokens = tokens.Count,
        Columns = table.Last,
        Rows = table.Rows,
        Indices = tokens.Pointer,
    };
}
