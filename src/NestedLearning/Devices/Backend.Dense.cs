namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>C = epilogue(op(A) op(B) + bias) + residual; see <see cref="GemmArguments"/>.</summary>
    public abstract void Gemm(in GemmArguments arguments);

    /// <summary>sums [N] += Σ over rows of x [M, N]: a bias' gradient.</summary>
    public abstract void ColumnSum(Tensor x, Tensor sums);

    /// <summary>y = norm(x) over the innermost axis D. Gain and bias [D] may be null (1 and 0).</summary>
    public abstract void NormForward(NormKind kind, Tensor x, Tensor? gain, Tensor? bias, float epsilon, Tensor y);

    /// <summary>dx = its gradient (null: not wanted); dGain, dBias [D] += theirs.</summary>
    public abstract void NormBackward(NormKind kind, Tensor x, Tensor? gain, float epsilon, Tensor dy, Tensor? dx, Tensor? dGain, Tensor? dBias);

    /// <summary>
    /// y_t = bias + Σ_{j=0..3} weight[:, j] ∘ x_{t−3+j}, for x [B, T, D], weight [D, 4], bias [D] or null. The three
    /// tokens before the first come from state [B, 3, D] (null: zeros); nextState (null: not wanted) receives the last
    /// three inputs and may be the same tensor as state.
    /// </summary>
    public abstract void CausalConvolutionForward(Tensor x, Tensor weight, Tensor? bias, Tensor? state, Tensor y, Tensor? nextState);

    /// <summary>dx = its gradient, dWeight, dBias += theirs. The carried state is data: no gradient goes into it or comes from nextState.</summary>
    public abstract void CausalConvolutionBackward(Tensor x, Tensor weight, Tensor? state, Tensor dy, Tensor? dx, Tensor? dWeight, Tensor? dBias);

    /// <summary>y = f(x). y may be x.</summary>
    public abstract void ActivationForward(Activation activation, Tensor x, Tensor y);

    /// <summary>dx = dy ∘ f'(x). dx may be dy.</summary>
    public abstract void ActivationBackward(Activation activation, Tensor x, Tensor dy, Tensor dx);

    /// <summary>y += factor · x.</summary>
    public abstract void AddScaled(float factor, Tensor x, Tensor y);

    /// <summary>z = x ∘ y. z may be either.</summary>
    public abstract void Multiply(Tensor x, Tensor y, Tensor z);

    /// <summary>x ← factor · x.</summary>
    public abstract void Scale(Tensor x, float factor);

    /// <summary>
    /// Rotary position embedding: y [B, T, H, D] is x with elements i and i + ⌊D/2⌋ turned together by the angle i of their token,
    /// or turned back, which is the gradient. An odd last element stays. table [T, 2 ⌊D/2⌋] holds cosines, then sines. y may be x.
    /// </summary>
    public abstract void Rotate(Tensor x, Tensor table, bool back, Tensor y);

    /// <summary>
    /// Σ x². Accumulated in double in an order that depends on the length alone; NaN and infinity come through.
    /// </summary>
    public abstract double SumOfSquares(Tensor x);

    /// <summary>
    /// <see cref="SumOfSquares"/> of each of these: the same bits. One after the other, unless a backend has a form that waits
    /// for its device once for all.
    /// </summary>
    /// <param name="tensors">Any number, of any sizes.</param>
    /// <param name="sums">One for each, written.</param>
    public virtual void SumsOfSquares(ReadOnlySpan<Tensor> tensors, Span<double> sums)
    {
        for (int i = 0; i < tensors.Length; i++)
            sums[i] = SumOfSquares(tensors[i]);
    }

    /// <summary>y [.., D] = rows of table [V, D] chosen by tokens. Tokens are known to be in 0..V−1.</summary>
    public abstract void EmbeddingForward(IndexTensor tokens, Tensor table, Tensor y);

    /// <summary>dTable += dy's rows, in token order for each row of the table.</summary>
    public abstract void EmbeddingBackward(IndexTensor tokens, Tensor dy, Tensor dTable);

    /// <summary>
    /// losses [N] = logsumexp(logits[n]) − logits[n, target_n], in nats; 0 where target is −1. logSums [N] receives the
    /// logsumexp for the backward pass.
    /// </summary>
    public abstract void CrossEntropyForward(Tensor logits, IndexTensor targets, Tensor losses, Tensor logSums);

    /// <summary>dLogits = (softmax(logits[n]) − onehot) · dLosses[n]; 0 where target is −1. dLogits may be logits.</summary>
    public abstract void CrossEntropyBackward(Tensor logits, IndexTensor targets, Tensor logSums, Tensor dLosses, Tensor dLogits);
}
