namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>C = epilogue(op(A) op(B) + bias) + residual; see <see cref="GemmArguments"/>.</summary>
    public abstract void Gemm(in GemmArguments arguments);

    /// <summary>
    /// C = op(A) op(B), or that added to C, for each of the matrices of the leading axes; see <see cref="Gemm.MultiplyBatch"/>.
    /// </summary>
    public abstract void BatchedGemm(Tensor a, Tensor b, Tensor c, bool transposeA, bool transposeB, bool accumulate);
}
