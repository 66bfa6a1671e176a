namespace NestedLearning;

public sealed partial class Tape
{
    /// <summary>
    /// Depthwise causal convolution of width 4 over x [B, T, D]. State [B, 3, D] holds the inputs before the first
    /// and nextState receives the last three; both are data without gradient.
    /// </summary>
    /// <exception cref="ArgumentException">The shapes do not fit.</exception>
    public Variable CausalConvolution(Variable x, Variable weight, Variable? bias = null, Tensor? state = null, Tensor? nextState = null)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(weight);
        if (Recording && state is not null && ReferenceEquals(state, nextState))
            throw new ArgumentException("The backward pass reads the state again; give another tensor for the next.", nameof(nextState));
        var y = new Variable(New(x.Shape), Needs(x, weight, bias));
        Operations.CausalConvolution.Forward(x.Value, weight.Value, bias?.Value, state, y.Value, nextState);
        if (y.NeedsGradient)
        {
            Record(
                () =>
                {
                    using WrittenGradient dx = Written(x);
                    Operations.CausalConvolution.Backward(x.Value, weight.Value, state, y.Gradient!, dx.Place, Added(weight), Added(bias));
                },
                y);
        }

        return y;
    }
}
