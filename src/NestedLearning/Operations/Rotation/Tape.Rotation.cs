namespace NestedLearning;

public sealed partial class Tape
{
    /// <summary>
    /// x [B, T, H, D] turned by rotary position embedding; the table [T, 2 ⌊D/2⌋] holds each token's cosines, then sines, and has
    /// no gradient. See <see cref="Operations.Rotation.Apply"/>.
    /// </summary>
    /// <exception cref="ArgumentException">A shape does not fit.</exception>
    public Variable Rotate(Variable x, Tensor table)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(table);
        var y = new Variable(New(x.Shape), Needs(x));
        Operations.Rotation.Apply(x.Value, table, back: false, y.Value);
        if (y.NeedsGradient)
        {
            Record(
                () =>
                {
                    using WrittenGradient dx = Written(x);
                    Operations.Rotation.Apply(y.Gradient!, table, back: true, dx.Place!);
                },
                y);
        }

        return y;
    }
}
