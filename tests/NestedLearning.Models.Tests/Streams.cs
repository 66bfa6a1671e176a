using System.Text;
using NestedLearning.Models.Learning;

namespace NestedLearning.Models.Tests;

/// <summary>Texts for stream learners, and how they read them.</summary>
internal static class Streams
{
    /// <summary>Reads a text segment by segment; the loss of each byte.</summary>
    public static float[] Read(IStreamLearner stream, byte[] text)
    {
        float[] losses = new float[text.Length];
        for (int i = 0; i < text.Length; i += stream.SegmentLength)
        {
            int length = Math.Min(stream.SegmentLength, text.Length - i);
            stream.Read(text.AsSpan(i, length), losses.AsSpan(i, length));
        }

        return losses;
    }

    /// <summary>A few words over and over.</summary>
    public static byte[] Pattern(int length)
    {
        byte[] period = Encoding.UTF8.GetBytes("the quick brown fox; ");
        return [.. Enumerable.Range(0, length).Select(i => period[i % period.Length])];
    }

    /// <summary>The beginning of what a random source says.</summary>
    public static byte[] Source(ulong seed, int length) => new MarkovSource(seed).Draw(0, length, out _);
}
