namespace NestedLearning.Models;

/// <summary>How the blocks of a continuum memory system stand to each other, and where each level's weights begin.</summary>
public enum ContinuumVariant
{
    /// <summary>y = MLP_k(… MLP_1(x)) (NL 70); every level keeps its weights.</summary>
    Chained,

    /// <summary>
    /// Chained; each level begins at a state that the next slower one meta-learns, and returns to it every
    /// ⌈C^(slower) / C⌉ of its chunks (NL 72).
    /// </summary>
    Nested,

    /// <summary>
    /// Chained; the slowest level meta-learns the start of every other, and each returns to it every
    /// ⌈C^(slowest) / C⌉ of its chunks (NL 73).
    /// </summary>
    Sequential,

    /// <summary>y = Σ_ℓ softmax(a)_ℓ MLP_ℓ(x) (NL 74) with starts as in <see cref="Sequential"/>; a belongs to the slowest level.</summary>
    Independent,
}

/// <summary>The form of a continuum memory system: its MLPs, and how knowledge passes between their levels (NL 24–31).</summary>
public sealed record ContinuumSettings
{
    /// <summary>How blocks are connected (direct connection) and where their weights begin (initialisation).</summary>
    public ContinuumVariant Variant { get; init; }

    /// <summary>
    /// Whether a chain begins with the slowest level's block, so that slow outputs are fast blocks' inputs; otherwise with the fastest.
    /// </summary>
    public bool SlowestFirst { get; init; }

    /// <summary>
    /// Backpropagation: whether a block's gradient is taken through the blocks after it. Otherwise gradients pass along the
    /// residual stream alone, and each block is told the error at the memory's output as it is.
    /// </summary>
    public bool Backpropagates { get; init; } = true;

    /// <summary>
    /// Generation: the rank r of the map by which each block's output writes weights of the block after it; 0 is none. For
    /// every token the gain of the next block's normalised input becomes g ∘ (1 + y A B), A [D, r], B [r, D]: its W_in is
    /// multiplied by a generated diagonal. A and B belong to the level that writes; B starts at zero.
    /// </summary>
    public int GeneratorRank { get; init; }

    /// <summary>The form of every level's MLP.</summary>
    public MlpForm Form { get; init; } = new();

    /// <summary>Whether a level's optimizer memories become empty when its weights return to their start.</summary>
    public bool ResetsOptimizers { get; init; } = true;

    /// <summary>
    /// The level that meta-learns another's start, of <paramref name="count"/> levels, the fastest being 0; null: it has none.
    /// </summary>
    internal int? StartOwner(int level, int count) => Variant switch
    {
        _ when level == count - 1 => null,
        ContinuumVariant.Chained => null,
        ContinuumVariant.Nested => level + 1,
        _ => count - 1,
    };

    /// <exception cref="ArgumentException">A setting is out of its range.</exception>
    internal void Validate(int dim)
    {
        if (!Enum.IsDefined(Variant))
            throw new ArgumentException(
                $"{nameof(Variant)} is {Variant}, expected {string.Join(", ", Enum.GetNames<ContinuumVariant>())}.");
        if (GeneratorRank < 0 || GeneratorRank > dim)
            throw new ArgumentException($"{nameof(GeneratorRank)} is {GeneratorRank}, expected 0 to {dim}.");
        Form.Validate();
    }
}
