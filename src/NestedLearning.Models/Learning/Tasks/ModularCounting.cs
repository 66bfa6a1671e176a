namespace NestedLearning.Models.Learning;

/// <summary>
/// Counting modulo m: tokens 0 and 1 with even odds; the target of each is the number of ones so far, modulo m. m = 2 is
/// parity. The state to track is a cyclic group, which a memory can only turn with eigenvalues away from the positive
/// reals (Grazzi et al., arXiv 2411.12537).
/// </summary>
/// <param name="modulus">m, at least 2.</param>
/// <param name="length">T.</param>
public sealed class ModularCounting(int modulus, int length) : ISequenceTask
{
    /// <inheritdoc/>
    public int Vocabulary { get; } = modulus >= 2 ? modulus
        : throw new ArgumentOutOfRangeException(nameof(modulus), modulus, $"modulus is {modulus}, expected at least 2.");

    /// <inheritdoc/>
    public SequenceEpisode Draw(ulong seed, ulong number, int batch)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batch);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        var random = new RandomSource(seed, number);
        int[] tokens = new int[batch * length], targets = new int[batch * length];
        for (int start = 0; start < tokens.Length; start += length)
        {
            int count = 0;
            for (int t = start; t < start + length; t++)
            {
                tokens[t] = random.Below(2);
                count += tokens[t];
                targets[t] = count % modulus;
            }
        }

        return new SequenceEpisode(batch, tokens, targets);
    }
}
