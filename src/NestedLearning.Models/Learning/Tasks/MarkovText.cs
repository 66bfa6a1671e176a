namespace NestedLearning.Models.Learning;

/// <summary>Windows of a Markov source, each token the target of the one before it: language modelling in the small.</summary>
/// <param name="source">Where the text comes from; its first symbol is byte 0.</param>
/// <param name="symbols">The size of its alphabet.</param>
/// <param name="length">T.</param>
public sealed class MarkovText(MarkovSource source, int symbols, int length) : ISequenceTask
{
    /// <inheritdoc/>
    public int Vocabulary => symbols;

    /// <inheritdoc/>
    public SequenceEpisode Draw(ulong seed, ulong number, int batch)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batch);
        int[] tokens = new int[batch * length], targets = new int[batch * length];
        for (int b = 0; b < batch; b++)
        {
            byte[] text = source.Draw(seed * 0x9E3779B97F4A7C15 + number * (ulong)batch + (ulong)b, length + 1, out _);
            for (int t = 0; t < length; t++)
                (tokens[b * length + t], targets[b * length + t]) = (text[t], text[t + 1]);
        }

        return new SequenceEpisode(batch, tokens, targets);
    }
}
