namespace NestedLearning;

// Initial states of inner levels, learned by the outer one (docs/specification.md, section 5).
public sealed partial class Tape
{
    /// <summary>
    /// A learned start as the initial memory of every sequence of a batch: second order, for what is written into the memory
    /// on the tape is differentiated through. The gradient, summed over the batch, is added to the start's error term.
    /// </summary>
    /// <param name="start">The start, with the elements of one sequence.</param>
    /// <param name="shape">The memories' shape [B, ..].</param>
    /// <exception cref="ArgumentException">The shape is not that of B starts.</exception>
    public Variable UseStart(Parameter start, Shape shape)
    {
        ArgumentNullException.ThrowIfNull(start);
        RequireStarts(start, shape, nameof(shape));
        int batch = shape[0];
        Variable row = Reshape(Use(start), [1, start.Value.Count]);
        return Reshape(batch == 1 ? row : Embedding(Keep(Device.FromIndices([batch], new int[batch])), row), shape);
    }

    private void RequireStarts(Parameter start, Shape shape, string name)
    {
        Require.OnDevice(start.Value, Device, start.Name);
        if (shape.Rank == 0 || shape[0] < 1 || shape.ElementCount != shape[0] * (long)start.Value.Count)
            throw new ArgumentException($"{name} is {shape}, expected [B, ..] with the {start.Value.Count} elements of {start.Name} " +
                $"{start.Value.Shape} for each of B sequences.", name);
    }
}
