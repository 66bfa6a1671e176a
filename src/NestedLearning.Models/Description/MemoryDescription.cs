namespace NestedLearning.Models;

/// <summary>
/// One memory of a model seen as a level of the nest: everything that learns is a memory with a context flow, an update rule
/// and an update frequency, be it attention's cache, a weight or an optimizer's moment.
/// </summary>
public sealed record MemoryDescription
{
    /// <summary>The name.</summary>
    public required string Name { get; init; }

    /// <summary>What the memory is.</summary>
    public required string Memory { get; init; }

    /// <summary>What it reads: tokens, gradients, or another memory.</summary>
    public required string ContextFlow { get; init; }

    /// <summary>The equation it is written by.</summary>
    public required string Rule { get; init; }

    /// <summary>
    /// C: steps of the model's clock from one write to the next. A stream's step is a token; see <see cref="Level.Chunk"/>.
    /// </summary>
    public required long Period { get; init; }

    /// <summary>f: writes of this memory for each of the slowest one's.</summary>
    public double Frequency { get; init; }

    /// <summary>The numbers that levels learn, among them this memory's; 0 for state that no level learns.</summary>
    public long Parameters { get; init; }

    /// <summary>The size of what it holds, in bytes.</summary>
    public required long Bytes { get; init; }
}
