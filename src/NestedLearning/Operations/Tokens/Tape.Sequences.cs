namespace NestedLearning;

public sealed partial class Tape
{
    /// <summary>The B sequences [1, ..] of x [B, ..], each a variable of its own.</summary>
    /// <exception cref="ArgumentException">x has fewer than two axes.</exception>
    public IReadOnlyList<Variable> Unstack(Variable x)
    {
        ArgumentNullException.ThrowIfNull(x);
        if (x.Shape.Rank < 2)
            throw new ArgumentException($"x has shape {x.Shape}, expected [B, ..].", nameof(x));
        int batch = x.Shape[0];
        Variable all = Reshape(x, [1, batch, x.Shape.ElementCount / Math.Max(batch, 1)]);
        Shape shape = new([1, .. x.Shape.AsSpan()[1..]]);
        return [.. Enumerable.Range(0, batch).Select(b => Reshape(Tokens(all, b, 1), shape))];
    }

    /// <summary>x [B, ..] of B sequences [1, ..].</summary>
    /// <exception cref="ArgumentException">There is none, or their shapes differ or do not begin with 1.</exception>
    public Variable Stack(IReadOnlyList<Variable> sequences)
    {
        ArgumentNullException.ThrowIfNull(sequences);
        if (sequences.Count == 0)
            throw new ArgumentException("There is no sequence.", nameof(sequences));
        Shape shape = sequences[0].Shape;
        if (shape.Rank < 2 || shape[0] != 1)
            throw new ArgumentException($"A sequence has shape {shape}, expected [1, ..].", nameof(sequences));
        foreach (Variable sequence in sequences)
            Require.SameShape(sequence.Value, shape, nameof(sequences));

        Variable all = Concatenate([.. sequences.Select(s => Reshape(s, [1, 1, shape.ElementCount]))]);
        return Reshape(all, [sequences.Count, .. shape.AsSpan()[1..]]);
    }

    /// <summary>softmax(x) over the innermost axis. For a handful of numbers, such as the weights of a sum: the host computes it.</summary>
    public Variable Softmax(Variable x)
    {
        ArgumentNullException.ThrowIfNull(x);
        int width = x.Shape.Last;
        float[] p = x.Value.ToArray();
        for (int start = 0; start < p.Length; start += width)
        {
            Span<float> row = p.AsSpan(start, width);
            double largest = double.NegativeInfinity, sum = 0;
            foreach (float e in row)
                largest = Math.Max(largest, e);
            foreach (float e in row)
                sum += Math.Exp(e - largest);
            foreach (ref float e in row)
                e = (float)(Math.Exp(e - largest) / sum);
        }

        var y = new Variable(Keep(Device.From(x.Shape, p)), Needs(x));
        if (y.NeedsGradient)
        {
            Record(
                () =>
                {
                    // dx = p ∘ (dp − ⟨p, dp⟩)
                    float[] gradient = y.Gradient!.ToArray();
                    for (int start = 0; start < p.Length; start += width)
                    {
                        double mean = 0;
                        for (int i = start; i < start + width; i++)
                            mean += (double)p[i] * gradient[i];
                        for (int i = start; i < start + width; i++)
                            gradient[i] = (float)(p[i] * (gradient[i] - mean));
                    }

                    using Tensor dx = Device.From(x.Shape, gradient);
                    AddGradient(x, dx);
                },
                y);
        }

        return y;
    }
}
