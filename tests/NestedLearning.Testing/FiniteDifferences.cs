namespace NestedLearning.Testing;

/// <summary>Gradients without derivation, in double.</summary>
public static class FiniteDifferences
{
    /// <summary>
    /// df/dx by the five-point stencil, whose error is O(step⁴). x is changed and put back, so f may hold on to it.
    /// </summary>
    public static double[] Gradient(Func<double> f, double[] x, double step = 2e-4)
    {
        double[] gradient = new double[x.Length];
        for (int i = 0; i < x.Length; i++)
        {
            double kept = x[i];
            x[i] = kept + step;
            double p1 = f();
            x[i] = kept - step;
            double m1 = f();
            x[i] = kept + 2 * step;
            double p2 = f();
            x[i] = kept - 2 * step;
            double m2 = f();
            x[i] = kept;
            gradient[i] = (8 * (p1 - m1) - (p2 - m2)) / (12 * step);
        }

        return gradient;
    }

    /// <summary>⟨a, b⟩: with b fixed, a loss whose gradient at a is b.</summary>
    public static double Dot(ReadOnlySpan<double> a, ReadOnlySpan<double> b)
    {
        double sum = 0;
        for (int i = 0; i < a.Length; i++)
            sum += a[i] * b[i];
        return sum;
    }
}
