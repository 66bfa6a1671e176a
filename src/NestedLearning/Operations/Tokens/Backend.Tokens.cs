namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>
    /// destination[b, destinationFirst + t] = source[b, sourceFirst + t] for every b and t below count, or that added to
    /// what is there; both [B, tokens, ..] with the same B and the same shape of a token.
    /// </summary>
    public abstract void CopyTokens(Tensor source, int sourceFirst, Tensor destination, int destinationFirst, int count, bool accumulate);
}
