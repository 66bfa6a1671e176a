using NestedLearning.Models;

namespace NestedLearning.CommandLine.Learn;

/// <summary>The models that tasks set side by side, all of one width and depth.</summary>
internal static class Learners
{
    /// <summary>Memories of one size with different rules, and a Transformer, whose memory grows with the context.</summary>
    public static IEnumerable<Candidate> OfMemories(int dim, int heads, int blocks) =>
    [
        new("DeltaNet", SequenceTraining.Shape(ModelConfiguration.DeltaNet, dim, heads, blocks)),
        new("linear attention", SequenceTraining.Shape(ModelConfiguration.LinearAttention, dim, heads, blocks)),
        new("Titans", SequenceTraining.Shape(ModelConfiguration.TitansMemory, dim, heads, blocks)),
        new("Hope", Hope(dim, heads, blocks)),
        new("Transformer", SequenceTraining.Shape(ModelConfiguration.Transformer, dim, heads, blocks)),
    ];

    /// <summary>As above, with and without the negative eigenvalues that turn a state.</summary>
    public static IEnumerable<Candidate> OfStates(int dim, int heads, int blocks) =>
    [
        new("DeltaNet, beta in (0, 2)", SequenceTraining.Shape(ModelConfiguration.DeltaNet with { NegativeEigenvalues = true }, dim, heads, blocks)),
        .. OfMemories(dim, heads, blocks),
    ];

    // Short sequences: memories that follow their tokens at once and are written with rates of order one.
    private static ModelConfiguration Hope(int dim, int heads, int blocks) =>
        SequenceTraining.Shape(ModelConfiguration.Hope, dim, heads, blocks) with { MemoryChunk = 1, EtaScale = 1, EtaBias = -1, AlphaBias = 5 };
}
