namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>y = norm(x) over the innermost axis D. Gain and bias [D] may be null (1 and 0).</summary>
    public abstract void NormForward(NormKind kind, Tensor x, Tensor? gain, Tensor? bias, float epsilon, Tensor y);

    /// <summary>dx = its gradient (null: not wanted); dGain, dBias [D] += theirs.</summary>
    public abstract void NormBackward(NormKind kind, Tensor x, Tensor? gain, float epsilon, Tensor dy, Tensor? dx, Tensor? dGain,
        Tensor? dBias);
}
