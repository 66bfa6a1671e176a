namespace NestedLearning.CommandLine.Streaming;

/// <summary>A mixed order that is the same in every run, whatever its seed, so that runs read the same text.</summary>
internal static class FixedOrder
{
    public static void Shuffle<T>(IList<T> items)
    {
        var random = new CounterRandom(seed: 20251107);
        for (int i = items.Count - 1; i > 0; i--)
        {
            int j = random.Below((ulong)i, i + 1);
            (items[i], items[j]) = (items[j], items[i]);
        }
    }
}
