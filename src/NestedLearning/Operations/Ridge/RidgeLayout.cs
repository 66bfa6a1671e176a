using NestedLearning.Native;

namespace NestedLearning.Operations;

/// <summary>
/// How the covariance P [D, D] of a ridge memory is kept: as P = Lᵀ diag(d) L in float64, L lower triangular with ones on its
/// diagonal. First d, then L's rows in panels of <see cref="Panel"/>, each row as long as the last of its panel, zero above the
/// diagonal; D is rounded up to whole panels by rows that are zero. Every panel is a rectangle whose rows begin at 64 bytes.
/// </summary>
internal static class RidgeLayout
{
    /// <summary>Rows of a panel, and the multiple that their lengths have.</summary>
    public const int Panel = Kernels.RidgePanel;

    /// <summary>Samples that go through the factor together.</summary>
    public const int Group = Kernels.RidgeGroup;

    /// <summary>The most features: 2³¹ 32-bit elements.</summary>
    public const int MaxFeatures = 46_320;

    // d stays between these, so that no product of it leaves float64: forgetting makes it grow where no sample is.
    private const double Least = 1 / Most, Most = 3.2733906078961419e150;

    /// <summary>D as whole panels.</summary>
    public static int Padded(int features) => (features + Panel - 1) / Panel * Panel;

    /// <summary>Numbers of L.</summary>
    public static long Triangle(int features)
    {
        long panels = Padded(features) / Panel;
        return Panel * Panel * panels * (panels + 1) / 2;
    }

    /// <summary>Numbers in float64 of d and L.</summary>
    public static long Numbers(int features) => Padded(features) + Triangle(features);

    /// <summary>Where row j begins, counted from the first.</summary>
    public static long Row(int j)
    {
        long panel = j / Panel;
        return Panel * Panel * panel * (panel + 1) / 2 + j % Panel * Panel * (panel + 1);
    }

    /// <summary>The length of row j, zeros above the diagonal counted.</summary>
    public static int RowLength(int j) => (j / Panel + 1) * Panel;

    /// <summary>An element of d after an update.</summary>
    public static double Bounded(double d) => Math.Clamp(d, Least, Most);
}
