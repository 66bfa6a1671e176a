using System.Globalization;
using Xunit;

namespace NestedLearning.Testing;

/// <summary>How results are set against references.</summary>
public static class Compare
{
    /// <summary>
    /// Below this largest magnitude a reference counts as this large: all cases have data of order one, so what is
    /// smaller is a difference of such numbers.
    /// </summary>
    public const double Floor = 1e-3;

    /// <summary>
    /// max |actual − expected| / max(<see cref="Floor"/>, max |expected|) over a tensor; +∞ where either is not finite. A difference
    /// of no more than <see cref="Tolerances.LeastNormal"/> is none.
    /// </summary>
    public static double RelativeError(ReadOnlySpan<float> actual, ReadOnlySpan<double> expected) =>
        RelativeError(ToDouble(actual), expected);

    /// <inheritdoc cref="RelativeError(ReadOnlySpan{float}, ReadOnlySpan{double})"/>
    public static double RelativeError(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected) =>
        RelativeError(actual, ToDouble(expected));

    /// <inheritdoc cref="RelativeError(ReadOnlySpan{float}, ReadOnlySpan{double})"/>
    public static double RelativeError(ReadOnlySpan<double> actual, ReadOnlySpan<double> expected)
    {
        Assert.Equal(expected.Length, actual.Length);
        double difference = 0, largest = Floor;
        for (int i = 0; i < actual.Length; i++)
        {
            double d = Math.Abs(actual[i] - expected[i]);
            if (!double.IsFinite(d))
                return double.PositiveInfinity;
            if (d > Tolerances.LeastNormal)
                difference = Math.Max(difference, d);
            largest = Math.Max(largest, Math.Abs(expected[i]));
        }

        return difference / largest;
    }

    /// <summary>Fails where the relative error is over the limit, naming the tensor and its worst element.</summary>
    public static void Close(string name, ReadOnlySpan<float> actual, ReadOnlySpan<double> expected, double tolerance)
    {
        double error = RelativeError(actual, expected);
        if (!(error <= tolerance))
            Assert.Fail(Describe(name, error, tolerance, actual, expected));
    }

    /// <inheritdoc cref="Close(string, ReadOnlySpan{float}, ReadOnlySpan{double}, double)"/>
    public static void Close(string name, ReadOnlySpan<float> actual, ReadOnlySpan<float> expected, double tolerance) =>
        Close(name, actual, ToDouble(expected), tolerance);

    /// <inheritdoc cref="Close(string, ReadOnlySpan{float}, ReadOnlySpan{double}, double)"/>
    public static void Close(string name, Tensor actual, ReadOnlySpan<double> expected, double tolerance) =>
        Close(name, actual.ToArray(), expected, tolerance);

    /// <inheritdoc cref="Close(string, ReadOnlySpan{float}, ReadOnlySpan{double}, double)"/>
    public static void Close(string name, Tensor actual, ReadOnlySpan<float> expected, double tolerance) =>
        Close(name, actual.ToArray(), ToDouble(expected), tolerance);

    /// <inheritdoc cref="Close(string, ReadOnlySpan{float}, ReadOnlySpan{double}, double)"/>
    public static void Close(string name, ReadOnlySpan<double> actual, ReadOnlySpan<double> expected, double tolerance)
    {
        double error = RelativeError(actual, expected);
        if (!(error <= tolerance))
            Assert.Fail(Describe(name, error, tolerance, actual, expected));
    }

    /// <summary>Fails where any bit differs; NaNs with the same bits are the same.</summary>
    public static void SameBits(string name, ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < actual.Length; i++)
        {
            if (BitConverter.SingleToUInt32Bits(actual[i]) != BitConverter.SingleToUInt32Bits(expected[i]))
                Assert.Fail(Text($"{name}[{i}] is {actual[i]:R}, expected the bits of {expected[i]:R}."));
        }
    }

    /// <summary>Fails where an element differs by more than this.</summary>
    public static void Within(string name, ReadOnlySpan<float> actual, ReadOnlySpan<float> expected, double most)
    {
        Assert.Equal(expected.Length, actual.Length);
        for (int i = 0; i < actual.Length; i++)
        {
            if (!(Math.Abs((double)actual[i] - expected[i]) <= most))
                Assert.Fail(Text($"{name}[{i}] is {actual[i]:R}, expected {expected[i]:R} within {most}."));
        }
    }

    /// <summary>Fails where there are subnormal numbers, and says how many.</summary>
    public static void NoSubnormals(string name, ReadOnlySpan<float> actual)
    {
        int count = 0, first = -1;
        for (int i = 0; i < actual.Length; i++)
        {
            if (!float.IsSubnormal(actual[i]))
                continue;
            first = count++ == 0 ? i : first;
        }

        if (count > 0)
            Assert.Fail(Text($"{name} has {count} subnormal numbers of {actual.Length}, the first [{first}] = {actual[first]:R}."));
    }

    /// <summary>Fails where an element is NaN or infinite.</summary>
    public static void Finite(string name, ReadOnlySpan<float> actual)
    {
        for (int i = 0; i < actual.Length; i++)
        {
            if (!float.IsFinite(actual[i]))
                Assert.Fail(Text($"{name}[{i}] is {actual[i]}, expected a finite number."));
        }
    }

    /// <summary>The elements in double.</summary>
    public static double[] ToDouble(ReadOnlySpan<float> elements)
    {
        double[] result = new double[elements.Length];
        for (int i = 0; i < result.Length; i++)
            result[i] = elements[i];
        return result;
    }

    private static string Describe<T>(string name, double error, double tolerance, ReadOnlySpan<T> actual, ReadOnlySpan<double> expected)
        where T : struct, IConvertible
    {
        int worst = 0;
        double worstDifference = -1;
        for (int i = 0; i < actual.Length; i++)
        {
            double d = Math.Abs(actual[i].ToDouble(CultureInfo.InvariantCulture) - expected[i]);
            if (!double.IsFinite(d))
                d = double.PositiveInfinity;
            if (d > worstDifference)
                (worst, worstDifference) = (i, d);
        }

        string where = Text($"worst is [{worst}] = {actual[worst]}, expected {expected[worst]}");
        return Text($"{name}: relative error {error:E2} is over {tolerance:E2}; {where}.");
    }

    private static string Text(FormattableString text) => FormattableString.Invariant(text);
}
