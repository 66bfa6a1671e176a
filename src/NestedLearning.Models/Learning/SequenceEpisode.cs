namespace NestedLearning.Models.Learning;

/// <summary>
/// B token sequences of T tokens, each a task learned in context: tokens and targets [B, T], target −1 where nothing is asked.
/// </summary>
/// <param name="Batch">B.</param>
/// <param name="Tokens">The tokens, sequence after sequence.</param>
/// <param name="Targets">What is to be predicted at each token; −1: nothing.</param>
/// <param name="Support">
/// How many of the T tokens come before the first query. First-order meta-learning stops the gradient behind them.
/// </param>
public sealed record SequenceEpisode(int Batch, int[] Tokens, int[] Targets, int Support = 0)
{
    /// <summary>T.</summary>
    public int Time => Tokens.Length / Batch;

    /// <summary>Tokens <paramref name="start"/> to <paramref name="end"/> − 1 of every sequence.</summary>
    internal (int[] Tokens, int[] Targets) Slice(int start, int end) => (Slice(Tokens, start, end), Slice(Targets, start, end));

    private int[] Slice(int[] whole, int start, int end)
    {
        int[] part = new int[Batch * (end - start)];
        for (int b = 0; b < Batch; b++)
            Array.Copy(whole, b * Time + start, part, b * (end - start), end - start);
        return part;
    }
}

/// <summary>Draws episodes of token sequences. The same seed and number give the same episode.</summary>
public interface ISequenceTask
{
    /// <summary>V: tokens and targets are below it.</summary>
    int Vocabulary { get; }

    /// <summary>Episode number <paramref name="number"/> of a seed.</summary>
    SequenceEpisode Draw(ulong seed, ulong number, int batch);
}
