using System.Globalization;
using System.Runtime.CompilerServices;

namespace NestedLearning.Operations;

/// <summary>What is known of one call of an operation from the tensors seen so far: the device, and the lengths of axes.</summary>
/// <param name="held">The <see cref="TensorCondition.Bits"/> of the conditions that hold.</param>
internal struct OperationCall(int held)
{
    /// <summary>The most axes with names of their own that an operation has.</summary>
    public const int MaxAxes = 8;

    private Lengths _lengths;
    private int _known;

    /// <summary>The bits of the conditions that hold.</summary>
    public readonly int Held => held;

    /// <summary>Where the tensors are written down that the call uses, while it is one.</summary>
    public OperationUses? Uses { get; init; }

    /// <summary>That of the first tensor.</summary>
    public Device? Device { get; set; }

    /// <summary>Sets the length of an axis, by its place in the operation's names.</summary>
    public void Set(int axis, int length)
    {
        _lengths[axis] = length;
        _known |= 1 << axis;
    }

    /// <summary>The length of an axis, or −1 when no tensor has set it.</summary>
    public readonly int Length(TensorAxis axis) =>
        axis.Place < 0 ? axis.Offset : (_known >> axis.Place & 1) == 0 ? -1 : axis.Factor * _lengths[axis.Place] + axis.Offset;

    /// <summary>Whether a tensor's axis has the length it should have; the first tensor with it sets that.</summary>
    public bool Fits(TensorAxis axis, int length)
    {
        int expected = Length(axis);
        if (expected < 0)
            Set(axis.Place, length);
        return expected < 0 || expected == length;
    }

    [InlineArray(MaxAxes)]
    private struct Lengths
    {
        private int _first;
    }
}

/// <summary>The length of an axis: factor · (length of a name) + offset, such as 3D+2, or a number alone.</summary>
/// <param name="Factor">The factor.</param>
/// <param name="Name">The name, empty for a number.</param>
/// <param name="Offset">The offset.</param>
/// <param name="Place">Where the name stands in the operation's names; −1 for a number.</param>
internal readonly record struct TensorAxis(int Factor, string Name, int Offset, int Place = -1)
{
    /// <summary>An axis as the equations write it: <c>Dk</c>, <c>3D+2</c>, <c>4</c>.</summary>
    public static TensorAxis Parse(string text)
    {
        int digits = text.TakeWhile(char.IsAsciiDigit).Count(), plus = text.IndexOf('+', StringComparison.Ordinal);
        string name = text[digits..(plus < 0 ? text.Length : plus)];
        int number = digits == 0 ? 1 : int.Parse(text.AsSpan(0, digits), CultureInfo.InvariantCulture);
        int offset = plus < 0 ? 0 : int.Parse(text.AsSpan(plus + 1), CultureInfo.InvariantCulture);
        return name.Length == 0 ? new TensorAxis(0, "", number) : new TensorAxis(number, name, offset);
    }
}

/// <summary>What must hold for a tensor to be given.</summary>
/// <param name="Bits">Bits of <see cref="OperationCall.Held"/>, of which each operation has its own; 0 always holds.</param>
/// <param name="Expected">How a message goes on after "expected".</param>
internal sealed record TensorCondition(int Bits, string Expected)
{
    public static readonly TensorCondition WithMu = new(1, "it exactly when mu is given");
    public static readonly TensorCondition InsideChunk = new(2, "it exactly when the phase is not 0");
    public static readonly TensorCondition Backward = new(0, "it exactly when a backward pass follows");
    public static readonly TensorCondition BackwardWithMu = new(1, "it exactly when mu is given and a backward pass follows");

    /// <summary>The bits, if the condition holds.</summary>
    public int If(bool holds) => holds ? Bits : 0;

    /// <summary>Whether it is among those that hold.</summary>
    public bool IsIn(int held) => (held & Bits) == Bits;
}
