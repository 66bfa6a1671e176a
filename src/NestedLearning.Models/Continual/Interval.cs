using System.Globalization;

namespace NestedLearning.Models.Continual;

/// <summary>The mean of some independent runs and the half-width of its 95 % interval by Student's t.</summary>
/// <param name="Mean">The mean; NaN of none.</param>
/// <param name="HalfWidth">t(n − 1) s / √n; NaN of fewer than two.</param>
public readonly record struct Interval(double Mean, double HalfWidth)
{
    // The 97.5 % quantiles of Student's t with 1, 2, … degrees of freedom; beyond, those of 40, 60, 120 and infinitely many.
    private static readonly double[] s_quantiles =
    [
        12.7062, 4.3027, 3.1824, 2.7764, 2.5706, 2.4469, 2.3646, 2.3060, 2.2622, 2.2281, 2.2010, 2.1788, 2.1604, 2.1448, 2.1314,
        2.1199, 2.1098, 2.1009, 2.0930, 2.0860, 2.0796, 2.0739, 2.0687, 2.0639, 2.0595, 2.0555, 2.0518, 2.0484, 2.0452, 2.0423,
    ];

    /// <summary>Of some values.</summary>
    public static Interval Of(IEnumerable<double> values)
    {
        double[] all = [.. values];
        if (all.Length == 0)
            return new Interval(double.NaN, double.NaN);
        double mean = all.Average();
        if (all.Length == 1)
            return new Interval(mean, double.NaN);
        double variance = all.Sum(v => (v - mean) * (v - mean)) / (all.Length - 1);
        return new Interval(mean, Quantile(all.Length - 1) * Math.Sqrt(variance / all.Length));
    }

    /// <summary>The mean, and the half-width where there is one: 2.736 ± 0.012.</summary>
    public string ToString(string format)
    {
        string mean = Mean.ToString(format, CultureInfo.InvariantCulture);
        return double.IsNaN(HalfWidth) ? mean : $"{mean} ± {HalfWidth.ToString(format, CultureInfo.InvariantCulture)}";
    }

    // Between tabulated degrees the smaller, whose interval is the wider.
    private static double Quantile(int degrees) => degrees switch
    {
        <= 30 => s_quantiles[degrees - 1],
        < 40 => s_quantiles[^1],
        < 60 => 2.0211,
        < 120 => 2.0003,
        _ => 1.9799,
    };
}
