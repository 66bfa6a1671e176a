namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>y [.., D] = rows of table [V, D] chosen by tokens. Tokens are known to be in 0..V−1.</summary>
    public abstract void EmbeddingForward(IndexTensor tokens, Tensor table, Tensor y);

    /// <summary>dTable += dy's rows, in token order for each row of the table.</summary>
    public abstract void EmbeddingBackward(IndexTensor tokens, Tensor dy, Tensor dTable);
}
