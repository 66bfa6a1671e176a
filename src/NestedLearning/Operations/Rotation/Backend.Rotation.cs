namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>
    /// Rotary position embedding: y [B, T, H, D] is x with elements i and i + ⌊D/2⌋ turned together by the angle i of their token,
    /// or turned back, which is the gradient. An odd last element stays. table [T, 2 ⌊D/2⌋] holds cosines, then sines. y may be x.
    /// </summary>
    public abstract void Rotate(Tensor x, Tensor table, bool back, Tensor y);
}
