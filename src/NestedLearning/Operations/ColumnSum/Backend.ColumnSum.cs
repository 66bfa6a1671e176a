namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>sums [N] += Σ over rows of x [M, N]: a bias' gradient.</summary>
    public abstract void ColumnSum(Tensor x, Tensor sums);
}
