namespace NestedLearning.Operations;

/// <summary>One sequence's head in the tensors of an operation.</summary>
internal static unsafe class HeadRows
{
    /// <summary>Tokens as rows: head (b, h) of [B, T, H, D], or of gates [B, T, H] as one column.</summary>
    public static MatrixView Tokens(Tensor? tensor, int batch, int head)
    {
        if (tensor is null)
            return default;
        int time = tensor.Shape[1], heads = tensor.Shape[2], dim = tensor.Shape.Rank == 4 ? tensor.Shape[3] : 1;
        return new MatrixView(tensor.Pointer + ((nint)batch * time * heads + head) * dim, (nint)heads * dim);
    }

    /// <summary>A state: entry (b, h) of [B, H, Dk, Dv], or (b, h, chunk) of [B, H, chunks, Dk, Dv].</summary>
    public static MatrixView State(Tensor? tensor, int batchHead, int chunk = 0)
    {
        if (tensor is null)
            return default;
        int chunks = tensor.Shape.Rank == 5 ? tensor.Shape[2] : 1, columns = tensor.Shape[^1];
        nint size = (nint)tensor.Shape[^2] * columns;
        return new MatrixView(tensor.Pointer + ((nint)batchHead * chunks + chunk) * size, columns);
    }
}
