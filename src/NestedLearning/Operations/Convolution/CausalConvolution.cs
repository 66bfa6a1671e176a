namespace NestedLearning.Operations;

/// <summary>The depthwise causal convolution of width 4. Arguments are checked before anything is written.</summary>
public static class CausalConvolution
{
    /// <summary>Depthwise causal convolution of width 4 over x [B, T, D]; see <see cref="Backend.CausalConvolutionForward"/>.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    public static void Forward(Tensor x, Tensor weight, Tensor? bias, Tensor? state, Tensor y, Tensor? nextState)
    {
        Require.Given(x, y);
        Validate(x, weight, bias, state);
        Require.SameShape(y, x.Shape);
        Require.OptionalShape(nextState, [x.Shape[0], Width - 1, x.Shape[2]]);
        Require.OnDevice(nextState, x.Device);
        using Held held = Held.All(x, weight, bias, state, y, nextState);
        x.Device.Backend.CausalConvolutionForward(x, weight, bias, state, y, nextState);
    }

    /// <summary>dx = the gradient of <see cref="Forward"/>; dWeight, dBias += theirs. Nulls are not wanted.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    public static void Backward(Tensor x, Tensor weight, Tensor? state, Tensor dy, Tensor? dx, Tensor? dWeight, Tensor? dBias)
    {
        Require.Given(x, dy);
        Validate(x, weight, dBias, state);
        Require.SameShape(dy, x.Shape);
        Require.OptionalShape(dx, x.Shape);
        Require.OptionalShape(dWeight, weight.Shape);
        Require.OnDevice(dx, x.Device);
        Require.OnDevice(dWeight, x.Device);
        using Held held = Held.All(x, weight, state, dy, dx, dWeight, dBias);
        x.Device.Backend.CausalConvolutionBackward(x, weight, state, dy, dx, dWeight, dBias);
    }

    /// <summary>The number of taps of the causal convolution.</summary>
    public const int Width = 4;

    private static void Validate(Tensor x, Tensor weight, Tensor? bias, Tensor? state)
    {
        Require.Rank(x, 3, "[B, T, D]");
        ArgumentNullException.ThrowIfNull(weight);
        Require.SameShape(weight, [x.Shape[2], Width]);
        Require.OptionalShape(bias, [x.Shape[2]]);
        Require.OptionalShape(state, [x.Shape[0], Width - 1, x.Shape[2]]);
        Require.OnDevice(weight, x.Device);
        Require.OnDevice(bias, x.Device);
        Require.OnDevice(state, x.Device);
    }
}
