using NestedLearning.Models;

namespace NestedLearning.CommandLine.Bench;

/// <summary>A Transformer of <see cref="ModelConfiguration.Transformer"/>'s form, and the batch it learns from.</summary>
/// <param name="Dim">D.</param>
/// <param name="Blocks">Blocks of attention and MLP.</param>
/// <param name="Heads">Heads of attention.</param>
/// <param name="Hidden">Hidden units of an MLP.</param>
/// <param name="Vocabulary">V; the output head is the embedding.</param>
/// <param name="Batch">B: sequences.</param>
/// <param name="Time">T: tokens of each.</param>
internal sealed record TransformerSize(int Dim, int Blocks, int Heads, int Hidden, int Vocabulary, int Batch, int Time)
{
    /// <summary>25.2M parameters, three quarters of them in the blocks.</summary>
    public static TransformerSize Of25M { get; } = new(512, 6, 8, 2048, 12_288, 8, 512);

    /// <summary>AdamW's learning rate.</summary>
    public const float LearningRate = 3e-4f;

    /// <summary>AdamW's decay of matrices.</summary>
    public const float WeightDecay = 0.01f;

    public ModelConfiguration Configuration => ModelConfiguration.Transformer with
    {
        Dim = Dim,
        Blocks = Blocks,
        Heads = Heads,
        Vocabulary = Vocabulary,
        ContextLength = 0,
        WarmupCommits = 0,
        ClipNorm = double.PositiveInfinity,
        Beta2 = 0.999f,
        WeightDecay = WeightDecay,
        Levels = [new("only", Chunk: 1, LearningRate, Hidden)],
    };

    /// <summary>The weights of all matrices, each a multiply-add for every token; of the embedding as output head.</summary>
    public double Matrices => (double)Vocabulary * Dim + Blocks * (4.0 * Dim * Dim + 2.0 * Dim * Hidden);

    /// <summary>Q Kᵀ and P V of the forward pass, over the triangle alone.</summary>
    public double AttentionFlops => 2.0 * Blocks * Batch * Time * (Time + 1) * Dim;

    /// <summary>In words.</summary>
    public override string ToString() => $"{Blocks} blocks of {Dim}, {Heads} heads, MLP {Hidden}, vocabulary {Vocabulary}";
}
