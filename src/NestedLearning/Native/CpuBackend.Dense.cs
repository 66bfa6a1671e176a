namespace NestedLearning;

internal sealed partial class CpuBackend
{
    public override void Gemm(in GemmArguments arguments) => throw new NotImplementedException();

    public override void ColumnSum(Tensor x, Tensor sums) => throw new NotImplementedException();

    public override void NormForward(NormKind kind, Tensor x, Tensor? gain, Tensor? bias, float epsilon, Tensor y) => throw new NotImplementedException();

    public override void NormBackward(NormKind kind, Tensor x, Tensor? gain, float epsilon, Tensor dy, Tensor? dx, Tensor? dGain, Tensor? dBias) => throw new NotImplementedException();

    public override void CausalConvolutionForward(Tensor x, Tensor weight, Tensor? bias, Tensor? state, Tensor y, Tensor? nextState) => throw new NotImplementedException();

    public override void CausalConvolutionBackward(Tensor x, Tensor weight, Tensor? state, Tensor dy, Tensor? dx, Tensor? dWeight, Tensor? dBias) => throw new NotImplementedException();

    public override double SumOfSquares(Tensor x) => throw new NotImplementedException();

    public override void EmbeddingForward(IndexTensor tokens, Tensor table, Tensor y) => throw new NotImplementedException();

    public override void EmbeddingBackward(IndexTensor tokens, Tensor dy, Tensor dTable) => throw new NotImplementedException();

    public override void CrossEntropyForward(Tensor logits, IndexTensor targets, Tensor losses, Tensor logSums) => throw new NotImplementedException();

    public override void CrossEntropyBackward(Tensor logits, IndexTensor targets, Tensor logSums, Tensor dLosses, Tensor dLogits) => throw new NotImplementedException();

    public override void AdamCommit(Tensor w, Tensor g, Tensor m, Tensor v, AdamSettings settings) => throw new NotImplementedException();
}
