namespace NestedLearning;

public sealed partial class Tape
{
    /// <summary>The same elements under another shape.</summary>
    /// <exception cref="ArgumentException">The numbers of elements differ.</exception>
    public Variable Reshape(Variable x, Shape shape)
    {
        ArgumentNullException.ThrowIfNull(x);
        var y = new Variable(Keep(x.Value.Reshape(shape)), Needs(x));
        if (y.NeedsGradient)
        {
            Record(
                () =>
                {
                    Tensor dy = y.Gradient!.Reshape(x.Shape);
                    if (x.Gradient is null)
                    {
                        // y's own is freed after this, and the memory stays x's.
                        x.Gradient = dy;
                        _gradients.Add(x);
                        return;
                    }

                    using (dy)
                        AddGradient(x, dy);
                },
                y);
        }

        return y;
    }

    // As AddGradient, but input's first contribution is output's gradient itself. Nothing may read that afterwards.
    private void PassGradient(Variable output, Variable? input)
    {
        Tensor gradient = output.Gradient!;
        if (input is { NeedsGradient: true, Gradient: null } && input.Shape == output.Shape)
        {
            output.Gradient = null;
            input.Gradient = gradient;
            _gradients.Add(input);
        }
        else
        {
            AddGradient(input, gradient);
        }
    }

    private void AddGradient(Variable? input, Tensor gradient)
    {
        Tensor? place = Accumulated(input, out bool first);
        if (first)
            place!.CopyFrom(gradient);
        else if (place is not null)
            Operations.Elementwise.AddScaled(1, gradient, place);
    }
}
