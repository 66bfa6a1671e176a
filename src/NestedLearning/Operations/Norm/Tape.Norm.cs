namespace NestedLearning;

public sealed partial class Tape
{
    /// <summary>y = norm(x) over the innermost axis; see <see cref="NormKind"/>.</summary>
    /// <exception cref="ArgumentException">The shapes do not fit.</exception>
    public Variable Norm(NormKind kind, Variable x, Variable? gain = null, Variable? bias = null, float epsilon = 1e-6f)
    {
        ArgumentNullException.ThrowIfNull(x);
        var y = new Variable(New(x.Shape), Needs(x, gain, bias));
        Operations.Norm.Forward(kind, x.Value, gain?.Value, bias?.Value, epsilon, y.Value);
        if (y.NeedsGradient)
        {
            Record(
                () =>
                {
                    using WrittenGradient dx = Written(x);
                    Operations.Norm.Backward(kind, x.Value, gain?.Value, epsilon, y.Gradient!, dx.Place, Added(gain), Added(bias));
                },
                y);
        }

        return y;
    }
}
