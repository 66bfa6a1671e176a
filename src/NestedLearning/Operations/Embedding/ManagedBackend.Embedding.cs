using System.Numerics.Tensors;

namespace NestedLearning;

internal sealed unsafe partial class ManagedBackend
{
    // Tokens of one piece of the forward pass, and columns of one piece of the backward pass.
    private const int TokenBlock = 64;
    private const int EmbeddingColumns = 64;

    // y[n] = table[tokens[n]]
    // tokens [N]  table [V,D]  y [N,D]
    public override void EmbeddingForward(IndexTensor tokens, Tensor table, Tensor y) =>
        Work.For(
            Pieces(tokens.Count, TokenBlock), y.Count,
            new EmbeddingForwardAction(tokens.Pointer, table.Pointer, y.Pointer, tokens.Count, table.Shape.Last));

    // dTable[tokens[n]] += dy[n], n ascending
    // A piece takes all tokens for a block of columns, so that no two pieces write the same element.
    public override void EmbeddingBackward(IndexTensor tokens, Tensor dy, Tensor dTable)
    {
        int width = dTable.Shape.Last;
        Work.For(
            Pieces(width, EmbeddingColumns), dy.Count,
            new EmbeddingBackwardAction(tokens.Pointer, dy.Pointer, dTable.Pointer, tokens.Count, width));
    }

    private readonly struct EmbeddingForwardAction(int* tokens, float* table, float* y, int count, int width) : IPieceAction
    {
        public void Invoke(int piece)
        {
            int end = Math.Min((piece + 1) * TokenBlock, count);
            for (int n = piece * TokenBlock; n < end; n++)
                new ReadOnlySpan<float>(table + (nint)tokens[n] * width, width).CopyTo(new Span<float>(y + (nint)n * width, width));
        }
    }

    private readonly struct EmbeddingBackwardAction(int* tokens, float* dy, float* dTable, int count, int width) : IPieceAction
    {
        public void Invoke(int piece)
        {
            int column = piece * EmbeddingColumns;
            int columns = Math.Min(EmbeddingColumns, width - column);
            for (int n = 0; n < count; n++)
            {
                var sum = new Span<float>(dTable + (nint)tokens[n] * width + column, columns);
                TensorPrimitives.Add(sum, new ReadOnlySpan<float>(dy + (nint)n * width + column, columns), sum);
                Subnormals.Flush(sum);
            }
        }
    }
}
