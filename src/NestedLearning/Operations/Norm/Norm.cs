namespace NestedLearning.Operations;

/// <summary>Norms of rows: RMSNorm, LayerNorm and the L2 norm. Arguments are checked before anything is written.</summary>
public static class Norm
{
    /// <summary>y = norm(x) over the innermost axis D; gain and bias [D] or null; see <see cref="NormKind"/>.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit, or a gain or bias is given to the L2 norm.</exception>
    public static void Forward(NormKind kind, Tensor x, Tensor? gain, Tensor? bias, float epsilon, Tensor y)
    {
        Require.Given(x, y);
        Validate(kind, x, gain, bias, epsilon);
        Require.SameShape(y, x.Shape);
        using Held held = Held.All(x, gain, bias, y);
        x.Device.Backend.NormForward(kind, x, gain, bias, epsilon, y);
    }

    /// <summary>dx = the gradient of <see cref="Forward"/>; dGain, dBias += theirs. Nulls are not wanted.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit, or a gain or bias is given to the L2 norm.</exception>
    public static void Backward(NormKind kind, Tensor x, Tensor? gain, float epsilon, Tensor dy, Tensor? dx, Tensor? dGain, Tensor? dBias)
    {
        Require.Given(x, dy);
        Validate(kind, x, gain, dBias, epsilon);
        Require.SameShape(dy, x.Shape);
        Require.OptionalShape(dx, x.Shape);
        Require.OptionalShape(dGain, [x.Shape.Last]);
        if (dGain is not null && gain is null)
            throw new ArgumentException("dGain is asked for, but there is no gain.", nameof(dGain));
        Require.OnDevice(dx, x.Device);
        Require.OnDevice(dGain, x.Device);
        using Held held = Held.All(x, gain, dy, dx, dGain, dBias);
        x.Device.Backend.NormBackward(kind, x, gain, epsilon, dy, dx, dGain, dBias);
    }

    private static void Validate(NormKind kind, Tensor x, Tensor? gain, Tensor? bias, float epsilon)
    {
        Require.InRange(epsilon, 0, float.MaxValue);
        Require.OptionalShape(gain, [x.Shape.Last]);
        Require.OptionalShape(bias, [x.Shape.Last]);
        Require.OnDevice(gain, x.Device);
        Require.OnDevice(bias, x.Device);
        if (kind == NormKind.L2 && (gain ?? bias) is not null)
            throw new ArgumentException("The L2 norm has neither gain nor bias.", gain is null ? nameof(bias) : nameof(gain));
        if (kind == NormKind.Rms && bias is not null)
            throw new ArgumentException("The RMS norm has no bias.", nameof(bias));
    }
}
