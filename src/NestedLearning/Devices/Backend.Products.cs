namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>C = op(A) op(B), or that added to C, for each of the matrices of the leading axes; see <see cref="Dense.BatchedGemm"/>.</summary>
    public abstract void BatchedGemm(Tensor a, Tensor b, Tensor c, bool transposeA, bool transposeB, bool accumulate);
}
