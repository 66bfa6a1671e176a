using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;

namespace NestedLearning;

/// <summary>The lengths of a tensor's axes, outermost first (row-major). At most five axes, each at least 0 long.</summary>
[CollectionBuilder(typeof(Shape), nameof(Create))]
public readonly struct Shape : IEquatable<Shape>, IEnumerable<int>
{
    private readonly int[]? _axes;

    /// <summary>A shape with these axis lengths.</summary>
    /// <exception cref="ArgumentException">
    /// More than five axes, or one below 0, or more than <see cref="MaxElements"/> elements, where axes of length 0 do not count.
    /// </exception>
    public Shape(params ReadOnlySpan<int> axes)
    {
        if (axes.Length > MaxRank)
            throw new ArgumentException($"A shape has at most {MaxRank} axes, got {axes.Length}.", nameof(axes));
        Int128 count = 1;
        foreach (int axis in axes)
        {
            if (axis < 0)
                throw new ArgumentException($"Axis lengths are at least 0, got {axis}.", nameof(axes));
            // An empty tensor has rows too.
            count *= Math.Max(1, axis);
            if (count > MaxElements)
                throw new ArgumentException($"[{string.Join(", ", axes.ToArray())}] has more than {MaxElements} elements.", nameof(axes));
        }

        _axes = axes.ToArray();
    }

    /// <summary>The most elements a shape can have, 2³¹ − 57: as many as an array of .NET.</summary>
    public const int MaxElements = 0x7FFFFFC7;

    /// <summary>The most axes a shape can have.</summary>
    public const int MaxRank = 5;

    /// <summary>The number of axes.</summary>
    public int Rank => _axes?.Length ?? 0;

    /// <summary>
    /// The product of all axis lengths; 1 for a scalar. Not called Count: a shape is a collection of its axes.
    /// </summary>
    public int ElementCount
    {
        get
        {
            int count = 1;
            foreach (int axis in AsSpan())
                count *= axis;
            return count;
        }
    }

    /// <summary>The length of an axis; <c>^1</c> is the innermost.</summary>
    public int this[Index axis] => AsSpan()[axis];

    /// <summary>The length of the innermost axis; 1 for a scalar.</summary>
    public int Last => Rank == 0 ? 1 : this[^1];

    /// <summary>The number of rows when every axis but the innermost is flattened.</summary>
    public int Rows
    {
        get
        {
            int count = 1;
            for (int i = 0; i < Rank - 1; i++)
                count *= _axes![i];
            return count;
        }
    }

    /// <summary>This shape with the innermost axis replaced.</summary>
    public Shape WithLast(int length)
    {
        int[] axes = AsSpan().ToArray();
        axes[^1] = length;
        return new Shape(axes);
    }

    /// <summary>A shape with these axis lengths; lets <c>Shape s = [2, 3];</c> be written.</summary>
    public static Shape Create(ReadOnlySpan<int> axes) => new(axes);

    /// <summary>The axis lengths.</summary>
    public ReadOnlySpan<int> AsSpan() => _axes;

    /// <inheritdoc/>
    public bool Equals(Shape other) => AsSpan().SequenceEqual(other.AsSpan());

    /// <inheritdoc/>
    public override bool Equals([NotNullWhen(true)] object? obj) => obj is Shape other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode()
    {
        var hash = new HashCode();
        foreach (int axis in AsSpan())
            hash.Add(axis);
        return hash.ToHashCode();
    }

    /// <summary>The lengths in brackets, as in <c>[2, 3]</c>.</summary>
    public override string ToString() => $"[{string.Join(", ", _axes ?? [])}]";

    /// <inheritdoc/>
    public IEnumerator<int> GetEnumerator() => ((IEnumerable<int>)(_axes ?? [])).GetEnumerator();

    System.Collections.IEnumerator System.Collections.IEnumerable.GetEnumerator() => GetEnumerator();

    /// <summary>Whether two shapes have the same axes.</summary>
    public static bool operator ==(Shape left, Shape right) => left.Equals(right);

    /// <summary>Whether two shapes differ.</summary>
    public static bool operator !=(Shape left, Shape right) => !left.Equals(right);
}
