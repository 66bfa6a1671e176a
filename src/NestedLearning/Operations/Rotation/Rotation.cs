namespace NestedLearning.Operations;

/// <summary>Rotary position embedding. Arguments are checked before anything is written.</summary>
public static class Rotation
{
    /// <summary>
    /// Rotary position embedding (Su et al., arXiv 2104.09864) of x [B, T, H, D], with h = ⌊D/2⌋ and angle a_i of the token:
    /// y_i = x_i cos a_i − x_{i+h} sin a_i and y_{i+h} = x_{i+h} cos a_i + x_i sin a_i; an odd last element stays. y may be x.
    /// </summary>
    /// <param name="x">What is turned.</param>
    /// <param name="table">[T, 2 h]: the cosines of a token's angles, then their sines.</param>
    /// <param name="back">Turns by the negative angles: the inverse, and the gradient.</param>
    /// <param name="y">[B, T, H, D].</param>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    public static void Apply(Tensor x, Tensor table, bool back, Tensor y)
    {
        Require.Given(x, table);
        Require.Given(x, y);
        Require.Rank(x, 4, "[B, T, H, D]");
        Require.Axes(table, [x.Shape[1], x.Shape[3] / 2 * 2]);
        Require.SameShape(y, x.Shape);
        using Held held = Held.All(x, table, y);
        x.Device.Backend.Rotate(x, table, back, y);
    }
}
