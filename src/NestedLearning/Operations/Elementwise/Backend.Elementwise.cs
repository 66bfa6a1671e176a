namespace NestedLearning;

public abstract partial class Backend
{
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
}
