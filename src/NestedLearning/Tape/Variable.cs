namespace NestedLearning;

/// <summary>A value on a <see cref="Tape"/>, and after a backward pass its gradient.</summary>
public sealed class Variable
{
    internal Variable(Tensor value, bool needsGradient)
    {
        Value = value;
        NeedsGradient = needsGradient;
    }

    /// <summary>The value. The tape owns it unless it was given to the tape from outside.</summary>
    public Tensor Value { get; }

    /// <summary>The value's shape.</summary>
    public Shape Shape => Value.Shape;

    /// <summary>Whether a backward pass computes a gradient for it.</summary>
    public bool NeedsGradient { get; }

    /// <summary>dL/dvalue after a backward pass that reached it; null otherwise. Of intermediate values it is freed on the way.</summary>
    public Tensor? Gradient { get; internal set; }

    // The parameter whose value this is as it stands; null for everything else.
    internal Parameter? Parameter { get; init; }

    // Set when the gradient is the caller's own memory (a parameter's error term) and must outlive the tape.
    internal bool GradientIsBorrowed { get; init; }
}
