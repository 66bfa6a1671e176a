namespace NestedLearning.Models.Learning;

/// <summary>Counter-based random numbers drawn one after the other: a generator of tasks reads better without indices.</summary>
internal sealed class RandomSource(ulong seed, ulong stream)
{
    private readonly CounterRandom _words = new(seed, stream);
    private readonly CounterRandom _normals = new(seed, ~stream);
    private ulong _nextWord;
    private ulong _nextNormal;

    public int Below(int bound) => _words.Below(_nextWord++, bound);

    public float Uniform() => _words.Uniform(_nextWord++);

    public float Normal() => _normals.Normal(_nextNormal++);

    /// <summary><paramref name="count"/> different integers below <paramref name="bound"/>, in random order.</summary>
    public int[] Distinct(int count, int bound)
    {
        int[] all = [.. Enumerable.Range(0, bound)];
        for (int i = 0; i < count; i++)
        {
            int j = i + Below(bound - i);
            (all[i], all[j]) = (all[j], all[i]);
        }

        return all[..count];
    }
}
