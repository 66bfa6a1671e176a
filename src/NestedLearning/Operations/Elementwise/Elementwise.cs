namespace NestedLearning.Operations;

/// <summary>Functions and sums, element by element. Arguments are checked before anything is written.</summary>
public static class Elementwise
{
    /// <summary>y = f(x); y may be x.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    public static void ActivationForward(Activation activation, Tensor x, Tensor y)
    {
        Require.Given(x, y);
        Require.SameShape(y, x.Shape);
        using Held held = Held.All(x, y);
        x.Device.Backend.ActivationForward(activation, x, y);
    }

    /// <summary>dx = dy ∘ f'(x); dx may be dy.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    public static void ActivationBackward(Activation activation, Tensor x, Tensor dy, Tensor dx)
    {
        Require.Given(x, dy);
        Require.Given(x, dx);
        Require.SameShape(dy, x.Shape);
        Require.SameShape(dx, x.Shape);
        using Held held = Held.All(x, dy, dx);
        x.Device.Backend.ActivationBackward(activation, x, dy, dx);
    }

    /// <summary>y += factor · x.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    public static void AddScaled(float factor, Tensor x, Tensor y)
    {
        Require.Given(x, y);
        Require.SameShape(y, x.Shape);
        using Held held = Held.All(x, y);
        x.Device.Backend.AddScaled(factor, x, y);
    }

    /// <summary>z = x ∘ y; z may be either.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    public static void Multiply(Tensor x, Tensor y, Tensor z)
    {
        Require.Given(x, y);
        Require.Given(x, z);
        Require.SameShape(y, x.Shape);
        Require.SameShape(z, x.Shape);
        using Held held = Held.All(x, y, z);
        x.Device.Backend.Multiply(x, y, z);
    }
}
