namespace NestedLearning.Operations;

/// <summary>One sequence's head in the tensors of an operation, by its number b H + h.</summary>
internal static unsafe class HeadRows
{
    /// <summary>Tokens as rows: head (b, h) of [B, T, H, D], or of gates [B, T, H] as one column.</summary>
    public static Rows<float> Tokens(Tensor? tensor, int head)
    {
        if (tensor is null)
            return default;
        int time = tensor.Shape[1], heads = tensor.Shape[2], dim = tensor.Shape.Rank == 4 ? tensor.Shape[3] : 1;
        return new(tensor.Pointer + ((nint)(head / heads) * time * heads + head % heads) * dim, (nint)heads * dim);
    }

    /// <summary>A state: the rows of entry (b, h) of [B, H, Dk, Dv], or of [B, H, chunks, Dk, Dv] chunk after chunk.</summary>
    public static Rows<float> State(Tensor? tensor, int head)
    {
        if (tensor is null)
            return default;
        int chunks = tensor.Shape.Rank == 5 ? tensor.Shape[2] : 1, columns = tensor.Shape[^1];
        return new(tensor.Pointer + (nint)head * chunks * tensor.Shape[^2] * columns, columns);
    }
}
