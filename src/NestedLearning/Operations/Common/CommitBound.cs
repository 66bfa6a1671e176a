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

    /// <summary>The same of each gradient, with its scale, that the caller has not seen to; they are measured in one go.</summary>
    public static void Require<TTensors, TSettings>(ReadOnlySpan<TTensors> tensors, ReadOnlySpan<TSettings> settings)
        where TTensors : struct, ICommitTensors
        where TSettings : struct, ICommitSettings
    {
        List<int> unknown = [];
        for (int i = 0; i < tensors.Length; i++)
        {
            if (!settings[i].GradientIsBounded)
                unknown.Add(i);
        }

        if (unknown.Count == 0)
            return;
        var gradients = new Tensor[unknown.Count];
        for (int i = 0; i < gradients.Length; i++)
            gradients[i] = tensors[unknown[i]].G;
        double[] squares = new double[gradients.Length];
        gradients[0].Device.Backend.SumsOfSquares(gradients, squares);
        for (int i = 0; i < squares.Length; i++)
        {
            double scale = Math.Abs(settings[unknown[i]].GradientScale);
            Require(Math.Sqrt(squares[i]) * scale, LargestNorm, $"The gradient of tensor {unknown[i]}");
        }
    }
}

/// <summary>What a commit writes, and its gradient.</summary>
internal interface ICommitTensors
{
    public Tensor G { get; }
}

/// <summary>What a commit does with its gradient.</summary>
internal interface ICommitSettings
{
    public float GradientScale { get; }

    public bool GradientIsBounded { get; }
}
