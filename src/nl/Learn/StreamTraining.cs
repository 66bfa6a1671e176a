using NestedLearning.Models;

namespace NestedLearning.CommandLine.Learn;

/// <summary>Reads phases of text online and keeps the loss of every byte, in bits.</summary>
internal static class StreamTraining
{
    /// <summary>The losses of each phase; each byte is predicted, scored, and then learned from.</summary>
    public static IReadOnlyList<double[]> Read(StreamLearner learner, IEnumerable<byte[]> phases) =>
        [.. phases.Select(p => Read(learner, p))];

    /// <summary>The losses of one phase; infinite from where a learner's own are not finite any more.</summary>
    public static double[] Read(StreamLearner learner, byte[] text)
    {
        double[] bits = new double[text.Length];
        float[] losses = new float[learner.SegmentLength];
        for (int start = 0; start < text.Length; start += losses.Length)
        {
            int length = Math.Min(losses.Length, text.Length - start);
            try
            {
                learner.Read(text.AsSpan(start, length), losses.AsSpan(0, length));
            }
            catch (NotFiniteNumberException)
            {
                Array.Fill(bits, double.PositiveInfinity, start, text.Length - start);
                break;
            }

            for (int i = 0; i < length; i++)
                bits[start + i] = losses[i] / Math.Log(2);
        }

        return bits;
    }

    /// <summary>The mean over a range of bytes, cut to what there is.</summary>
    public static double Mean(double[] bits, int start, int end)
    {
        start = Math.Clamp(start, 0, bits.Length - 1);
        return bits[start..Math.Clamp(end, start + 1, bits.Length)].Average();
    }

    /// <summary>The bytes until the mean over a window is at most a level; null where it never is.</summary>
    public static int? Reaches(double[] bits, double level, int window)
    {
        double sum = 0;
        for (int end = 1; end <= bits.Length; end++)
        {
            sum += bits[end - 1] - (end > window ? bits[end - window - 1] : 0);
            if (end >= window && sum / window <= level)
                return end;
        }

        return null;
    }
}
