namespace NestedLearning.Models.Learning;

/// <summary>
/// Multi-query associative recall (Arora et al., arXiv 2312.04927): pairs key value key value …, then every key again in
/// random order, each to be answered with its value. Keys are tokens 0 to <c>keys</c> − 1, values the <c>values</c> after them,
/// drawn independently. A key that is written several times, in random order among the others, has the last of its values.
/// </summary>
public sealed class AssociativeRecall : ISequenceTask
{
    private readonly int _keys;
    private readonly int _values;
    private readonly int[] _pairs;

    /// <summary>How often each key is written, at least 1.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Below 1.</exception>
    public int Writes
    {
        get;
        init => field = value >= 1 ? value
            : throw new ArgumentOutOfRangeException(nameof(Writes), value, $"Writes is {value}, expected at least 1.");
    } = 1;

    /// <summary>A task with one or more numbers of pairs, each episode drawing one of them.</summary>
    /// <param name="keys">The number of different keys, at least as many as pairs.</param>
    /// <param name="values">The number of different values, at least 2.</param>
    /// <param name="pairs">Numbers of pairs, each at least 1.</param>
    /// <exception cref="ArgumentException">There are fewer keys than pairs, or a number is too small.</exception>
    public AssociativeRecall(int keys, int values, params int[] pairs)
    {
        ArgumentNullException.ThrowIfNull(pairs);
        if (pairs.Length == 0 || pairs.Min() < 1 || pairs.Max() > keys)
            throw new ArgumentException($"pairs is [{string.Join(", ", pairs)}], expected numbers from 1 to keys = {keys}.", nameof(pairs));
        ArgumentOutOfRangeException.ThrowIfLessThan(values, 2);
        (_keys, _values, _pairs) = (keys, values, pairs);
    }

    /// <inheritdoc/>
    public int Vocabulary => _keys + _values;

    /// <inheritdoc/>
    public SequenceEpisode Draw(ulong seed, ulong number, int batch)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batch);
        var random = new RandomSource(seed, number);
        int pairs = _pairs[random.Below(_pairs.Length)], writes = pairs * Writes, time = 2 * writes + pairs;
        int[] tokens = new int[batch * time], targets = new int[batch * time];
        Array.Fill(targets, -1);
        for (int start = 0; start < tokens.Length; start += time)
        {
            int[] keys = random.Distinct(pairs, _keys), order = random.Distinct(writes, writes), asked = random.Distinct(pairs, pairs),
                last = new int[pairs];
            for (int i = 0; i < writes; i++)
            {
                int pair = order[i] % pairs;
                tokens[start + 2 * i] = keys[pair];
                tokens[start + 2 * i + 1] = last[pair] = _keys + random.Below(_values);
            }

            for (int i = 0; i < pairs; i++)
            {
                tokens[start + 2 * writes + i] = keys[asked[i]];
                targets[start + 2 * writes + i] = last[asked[i]];
            }
        }

        return new SequenceEpisode(batch, tokens, targets, 2 * writes);
    }
}
