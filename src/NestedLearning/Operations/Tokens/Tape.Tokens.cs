namespace NestedLearning;

public sealed partial class Tape
{
    /// <summary>Sequences one after the other along the axis of tokens: [B, T1, ..], [B, T2, ..], … give [B, T1 + T2 + …, ..].</summary>
    /// <exception cref="ArgumentException">There is none, or the shapes differ in another axis than the second.</exception>
    public Variable Concatenate(params ReadOnlySpan<Variable> sequences)
    {
        if (sequences.IsEmpty)
            throw new ArgumentException("There are no sequences, expected at least one.", nameof(sequences));
        Variable[] parts = sequences.ToArray();
        int time = 0;
        foreach (Variable part in parts)
        {
            ArgumentNullException.ThrowIfNull(part, nameof(sequences));
            RequireTokens(part, nameof(sequences));
            Require.SameShape(part.Value, WithTime(parts[0].Shape, part.Shape[1]), nameof(sequences));
            time += part.Shape[1];
        }

        if (parts.Length == 1)
            return parts[0];
        var y = new Variable(New(WithTime(parts[0].Shape, time)), Needs(parts));
        for (int i = 0, first = 0; i < parts.Length; first += parts[i++].Shape[1])
            Device.Backend.CopyTokens(parts[i].Value, 0, y.Value, first, parts[i].Shape[1], accumulate: false);
        if (y.NeedsGradient)
        {
            Record(
                () =>
                {
                    for (int i = 0, from = 0; i < parts.Length; from += parts[i++].Shape[1])
                    {
                        if (Accumulated(parts[i], out bool written) is { } dx)
                            Device.Backend.CopyTokens(y.Gradient!, from, dx, 0, parts[i].Shape[1], accumulate: !written);
                    }
                },
                y);
        }

        return y;
    }

    /// <summary>
    /// A sequence [B, T1, ..] with more tokens [B, T2, ..] behind it, as <see cref="Concatenate"/> gives it. Of one sequence whose
    /// gradient nobody wants, such as a cache of keys that grows token by token, what is there is not copied where there is
    /// memory behind it: the result shares it, and neither may be changed afterwards.
    /// </summary>
    /// <exception cref="ArgumentException">The shapes differ in another axis than the second.</exception>
    public Variable Append(Variable sequence, Variable more)
    {
        ArgumentNullException.ThrowIfNull(sequence);
        ArgumentNullException.ThrowIfNull(more);
        RequireTokens(sequence, nameof(sequence));
        RequireTokens(more, nameof(more));
        int before = sequence.Shape[1], count = more.Shape[1];
        Shape shape = WithTime(sequence.Shape, before + count);
        if (Needs(sequence, more) || shape[0] != 1 || WithTime(more.Shape, before + count) != shape
            || sequence.Value.Storage.Extend(shape.ElementCount) is not { } storage)
            return Concatenate(sequence, more);
        var y = new Variable(Keep(new Tensor(Device, shape, storage)), false);
        Device.Backend.CopyTokens(more.Value, 0, y.Value, before, count, accumulate: false);
        return y;
    }

    /// <summary>Some tokens of sequences [B, T, ..]: the result is [B, count, ..].</summary>
    /// <exception cref="ArgumentOutOfRangeException">They are not all among the T.</exception>
    public Variable Tokens(Variable x, int first, int count)
    {
        ArgumentNullException.ThrowIfNull(x);
        RequireTokens(x, nameof(x));
        if (first < 0 || count < 0 || first > x.Shape[1] - count)
            throw new ArgumentOutOfRangeException(nameof(first), first,
                $"Tokens {first} to {first + count - 1} are asked for, expected some of 0 to {x.Shape[1] - 1}.");
        if (count == x.Shape[1])
            return x;
        var y = new Variable(New(WithTime(x.Shape, count)), Needs(x));
        Device.Backend.CopyTokens(x.Value, first, y.Value, 0, count, accumulate: false);
        if (y.NeedsGradient)
            Record(() => Device.Backend.CopyTokens(y.Gradient!, 0, Added(x)!, first, count, accumulate: true), y);
        return y;
    }

    private static void RequireTokens(Variable x, string name)
    {
        if (x.Shape.Rank < 2)
            throw new ArgumentException($"{name} has shape {x.Shape}, expected [B, T, ..].", name);
    }

    private static Shape WithTime(Shape shape, int time)
    {
        int[] axes = shape.AsSpan().ToArray();
        axes[1] = time;
        return new Shape(axes);
    }
}
