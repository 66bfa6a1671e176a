using System.Globalization;

namespace NestedLearning.Operations;

/// <summary>How large a gradient may be for moments of it to be finite, and what is done with a larger one.</summary>
internal static class CommitBound
{
    /// <summary>2⁵⁰; see <see cref="OptimizerMemory.LargestErrorNorm"/>.</summary>
    public const double LargestNorm = 1L << 50;

    /// <summary>That a norm is a number and no larger.</summary>
    /// <exception cref="NotFiniteNumberException">It is not.</exception>
    public static void Require(double norm, double largest, string what)
    {
        if (!(norm <= largest))
            throw new NotFiniteNumberException(
                $"{what} has norm {Text(norm)}, expected at most {Text(largest)}: moments of it would not be finite. " +
                    "Nothing was committed.",
                norm);
    }

    /// <summary>A norm in three digits.</summary>
    public static string Text(double norm) => norm.ToString("G3", CultureInfo.InvariantCulture);

    /// <summary>The same of each of several gradients with its scale, which are measured in one go.</summary>
    public static void Require(ReadOnlySpan<Tensor> gradients, ReadOnlySpan<float> scales)
    {
        if (gradients.IsEmpty)
            return;
        double[] squares = new double[gradients.Length];
        gradients[0].Device.Backend.SumsOfSquares(gradients, squares);
        for (int i = 0; i < squares.Length; i++)
            Require(Math.Sqrt(squares[i]) * Math.Abs(scales[i]), LargestNorm, $"The gradient of tensor {i}");
    }
}
