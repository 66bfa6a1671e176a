namespace NestedLearning.CommandLine;

/// <summary>How far results are from what a case expects.</summary>
internal static class TensorError
{
    /// <summary>
    /// max|a − b| / max|b| for results a and expected b; max|a − b| where all of b is 0. Infinite where one of the two
    /// is NaN and the other is not, or where they differ by infinity; infinities that agree, and NaNs that agree, are no
    /// error and set no scale.
    /// </summary>
    public static double Relative(ReadOnlySpan<float> result, ReadOnlySpan<float> expected)
    {
        double largest = 0, scale = 0;
        for (int i = 0; i < expected.Length; i++)
        {
            double a = result[i], b = expected[i];
            if (double.IsFinite(b))
                scale = Math.Max(scale, Math.Abs(b));
            if (a.Equals(b))
                continue;
            double difference = Math.Abs(a - b);
            largest = Math.Max(largest, double.IsFinite(difference) ? difference : double.PositiveInfinity);
        }

        return scale == 0 ? largest : largest / scale;
    }
}
