namespace NestedLearning.Models;

internal static class Segments
{
    /// <summary>
    /// Cuts the next tokens of a context where a segment ends, and nowhere else; a segment of 0 has no end.
    /// </summary>
    /// <param name="position">The tokens of the context before them.</param>
    /// <param name="time">How many they are.</param>
    /// <param name="segment">The length of a segment.</param>
    public static IEnumerable<(int First, int Count)> Pieces(long position, int time, int segment)
    {
        for (int first = 0, count; first < time; first += count)
        {
            count = segment == 0 ? time : (int)Math.Min(time - first, segment - (position + first) % segment);
            yield return (first, count);
        }
    }
}
