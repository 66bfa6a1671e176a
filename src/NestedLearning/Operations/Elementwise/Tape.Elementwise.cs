namespace NestedLearning;

public sealed partial class Tape
{
    /// <summary>y = f(x), element by element.</summary>
    public Variable Activate(Activation activation, Variable x)
    {
        ArgumentNullException.ThrowIfNull(x);
        var y = new Variable(New(x.Shape), Needs(x));
        Operations.Elementwise.ActivationForward(activation, x.Value, y.Value);
        if (y.NeedsGradient)
        {
            Record(
                () =>
                {
                    using WrittenGradient dx = Written(x);
                    if (dx.Place is not null)
                        Operations.Elementwise.ActivationBackward(activation, x.Value, y.Gradient!, dx.Place);
                },
                y);
        }

        return y;
    }

    /// <summary>z = x + y.</summary>
    /// <exception cref="ArgumentException">The shapes differ.</exception>
    public Variable Add(Variable x, Variable y)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(y);
        Require.SameShape(y.Value, x.Shape);
        var z = new Variable(New(x.Shape), Needs(x, y));
        z.Value.CopyFrom(x.Value);
        Operations.Elementwise.AddScaled(1, y.Value, z.Value);
        if (z.NeedsGradient)
        {
            Record(
                () =>
                {
                    AddGradient(x, z.Gradient!);
                    PassGradient(z, y);
                },
                z);
        }

        return z;
    }

    /// <summary>z = x ∘ y.</summary>
    /// <exception cref="ArgumentException">The shapes differ.</exception>
    public Variable Multiply(Variable x, Variable y)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(y);
        var z = new Variable(New(x.Shape), Needs(x, y));
        Operations.Elementwise.Multiply(x.Value, y.Value, z.Value);
        if (z.NeedsGradient)
        {
            Record(
                () =>
                {
                    // One after the other: when x is y, both halves go to the same place.
                    using (WrittenGradient dx = Written(x))
                    {
                        if (dx.Place is not null)
                            Operations.Elementwise.Multiply(z.Gradient!, y.Value, dx.Place);
                    }

                    using WrittenGradient dy = Written(y);
                    if (dy.Place is not null)
                        Operations.Elementwise.Multiply(z.Gradient!, x.Value, dy.Place);
                },
                z);
        }

        return z;
    }
}
