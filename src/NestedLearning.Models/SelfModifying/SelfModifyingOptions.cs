namespace NestedLearning.Models;

/// <summary>What a self-modifying memory is made of.</summary>
public enum MemoryKind
{
    /// <summary>One matrix: M(x) = x S.</summary>
    Matrix,

    /// <summary>
    /// Two layers: M(x) = x + φ(x W2) W1 with φ = GELU (NL 89, 91). Of the rates' memories, whose answers are one number,
    /// M(x) is the mean of φ(x W2) W1.
    /// </summary>
    Deep,
}

/// <summary>One of the memories that write themselves.</summary>
/// <param name="Kind">A matrix or two layers.</param>
/// <param name="Chunk">Tokens for which it stays frozen, 1 to 256; null is <see cref="ModelConfiguration.MemoryChunk"/>.</param>
/// <param name="Hidden">N: hidden units of a deep memory.</param>
public sealed record MemoryOptions(MemoryKind Kind = MemoryKind.Matrix, int? Chunk = null, int Hidden = 32);

/// <summary>
/// What self-modifying Titans (docs/specification.md, section 6) leave to choose beside <see cref="ModelConfiguration.Objective"/> and the
/// rates' scales. The default, five matrices of one chunk, runs as one fused operation; every other choice is composed.
/// </summary>
public sealed record SelfModifyingOptions
{
    /// <summary>M_k, which makes keys.</summary>
    public MemoryOptions Key { get; init; } = new();

    /// <summary>M_v, which makes values.</summary>
    public MemoryOptions Value { get; init; } = new();

    /// <summary>M_η, which makes learning rates.</summary>
    public MemoryOptions Rate { get; init; } = new();

    /// <summary>M_α, which makes decays.</summary>
    public MemoryOptions Decay { get; init; } = new();

    /// <summary>M_mem, which queries read.</summary>
    public MemoryOptions Memory { get; init; } = new();

    /// <summary>M_q, which makes adaptive queries q = norm(M_q(x)); null is a fixed projection, q = norm(x W_q).</summary>
    public MemoryOptions? Query { get; init; }

    /// <summary>
    /// Whether each token's inner gradient is taken at the memory as it is (NL 88), not as it was at the chunk's start. Of
    /// matrix memories alone: the gradient of two layers is frozen.
    /// </summary>
    public bool ExactGradient { get; init; }

    /// <summary>Which state of M_mem a query reads.</summary>
    public ScanRead Read { get; init; } = ScanRead.Before;

    /// <summary>The memories by name, in the order of their equations.</summary>
    internal IEnumerable<(string Name, MemoryOptions Options)> Memories
    {
        get
        {
            (string, MemoryOptions)[] always = [("k", Key), ("v", Value), ("eta", Rate), ("alpha", Decay), ("mem", Memory)];
            return Query is null ? always : [.. always, ("q", Query)];
        }
    }

    /// <summary>Whether the fused operation computes this: five matrices that are frozen together, read by a fixed query.</summary>
    internal bool IsFused(int chunk) =>
        Query is null && Memories.All(m => m.Options.Kind == MemoryKind.Matrix && (m.Options.Chunk ?? chunk) == chunk);

    /// <summary>Checks every option.</summary>
    /// <exception cref="ArgumentException">An option is out of its range; the message names it.</exception>
    public void Validate()
    {
        if (!Enum.IsDefined(Read))
            throw new ArgumentException($"{nameof(Read)} is {Read}, expected one of {string.Join(", ", Enum.GetNames<ScanRead>())}.");
        foreach ((string name, MemoryOptions options) in Memories)
        {
            if (!Enum.IsDefined(options.Kind))
                throw new ArgumentException($"The kind of M_{name} is {options.Kind}, expected one of " +
                    $"{string.Join(", ", Enum.GetNames<MemoryKind>())}.");
            if (options.Chunk is < 1 or > ScanSettings.MaxChunk)
                throw new ArgumentException($"The chunk of M_{name} is {options.Chunk} tokens, expected 1 to {ScanSettings.MaxChunk}.");
            if (options.Hidden < 1)
                throw new ArgumentException($"The hidden units of M_{name} are {options.Hidden}, expected at least 1.");
            if (ExactGradient && options.Kind == MemoryKind.Deep)
                throw new ArgumentException($"{nameof(ExactGradient)} is true and M_{name} deep, expected matrices: the gradient of two " +
                    "layers is frozen at the chunk's start.");
        }
    }
}
