using NestedLearning.Models;

namespace NestedLearning.CommandLine.Learn;

/// <summary>The models that tasks set side by side, all of one width and depth.</summary>
internal static class Learners
{
    /// <summary>Memories of one size with different rules, and attention, whose memory grows with the context.</summary>
    public static IReadOnlyList<Candidate> OfMemories(int dim, int heads, int blocks)
    {
        // Sequences of a few dozen tokens: writes with rates of order one.
        ModelConfiguration hope = ModelConfiguration.Hope with { EtaScale = 1, EtaBias = -1, AlphaBias = 5 };
        (string Name, ModelConfiguration Preset)[] presets =
        [
            ("DeltaNet", ModelConfiguration.DeltaNet),
            ("DeltaNet, beta in (0, 2)", ModelConfiguration.DeltaNet with { NegativeEigenvalues = true }),
            ("linear attention", ModelConfiguration.LinearAttention),
            ("Titans", ModelConfiguration.TitansMemory),
            ("Hope, chunk 1", hope with { MemoryChunk = 1 }),
            ("Hope, chunk 64", hope with { MemoryChunk = 64 }),
            ("attention and convolution", ModelConfiguration.HopeAttention),
            ("Transformer", ModelConfiguration.Transformer),
        ];
        return [.. presets.Select(p => new Candidate(p.Name, SequenceTraining.Shape(p.Preset, dim, heads, blocks)))];
    }
}
