namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>
    /// y_t = bias + Σ_{j=0..3} weight[:, j] ∘ x_{t−3+j}, for x [B, T, D], weight [D, 4], bias [D] or null. The three
    /// tokens before the first come from state [B, 3, D] (null: zeros); nextState (null: not wanted) receives the last
    /// three inputs and may be the same tensor as state.
    /// </summary>
    public abstract void CausalConvolutionForward(Tensor x, Tensor weight, Tensor? bias, Tensor? state, Tensor y, Tensor? nextState);

    /// <summary>
    /// dx = its gradient, dWeight, dBias += theirs. The carried state is data: no gradient goes into it or comes from nextState.
    /// </summary>
    public abstract void CausalConvolutionBackward(Tensor x, Tensor weight, Tensor? state, Tensor dy, Tensor? dx, Tensor? dWeight,
        Tensor? dBias);
}
