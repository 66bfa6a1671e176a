namespace NestedLearning.Models.Learning;

/// <summary>
/// What can be known of a linear function after some examples, in closed form and double precision:
/// <code>
/// w = argmin Σ (y_t − ⟨w, x_t⟩)² + λ ‖w − m‖² = m + (Xᵀ X + λ I)⁻¹ Xᵀ (y − X m)
/// </code>
/// With λ = σ²/s² the mean of the posterior under w ~ N(m, s² I) and noise σ: no learner has a lower expected error. λ → 0
/// is least squares, of least norm while there are fewer examples than dimensions.
/// </summary>
public sealed class RidgeRegression
{
    private readonly double[] _center;
    private readonly double[] _gram;
    private readonly double[] _moment;
    private double[]? _weights;

    /// <summary>A regression that has seen nothing.</summary>
    /// <param name="lambda">λ, above 0.</param>
    /// <param name="center">m.</param>
    /// <exception cref="ArgumentOutOfRangeException">λ is not above 0.</exception>
    public RidgeRegression(double lambda, ReadOnlySpan<float> center)
    {
        if (!(lambda > 0))
            throw new ArgumentOutOfRangeException(nameof(lambda), lambda, $"lambda is {lambda}, expected above 0.");
        int d = center.Length;
        (_center, _gram, _moment) = (new double[d], new double[d * d], new double[d]);
        for (int i = 0; i < d; i++)
            (_center[i], _gram[i * d + i]) = (center[i], lambda);
    }

    /// <summary>Learns from an example.</summary>
    public void Add(ReadOnlySpan<float> x, double y)
    {
        int d = _center.Length;
        double residual = y - Dot(_center, x);
        for (int i = 0; i < d; i++)
        {
            _moment[i] += residual * x[i];
            for (int j = 0; j < d; j++)
                _gram[i * d + j] += (double)x[i] * x[j];
        }

        _weights = null;
    }

    /// <summary>⟨w, x⟩ for the examples so far.</summary>
    public double Predict(ReadOnlySpan<float> x) => Dot(_center, x) + Dot(_weights ??= Solve(_gram, _moment), x);

    private static double Dot(double[] w, ReadOnlySpan<float> x)
    {
        if (x.Length != w.Length)
            throw new ArgumentException($"x has {x.Length} elements, expected {w.Length}.", nameof(x));
        double sum = 0;
        for (int i = 0; i < w.Length; i++)
            sum += w[i] * x[i];
        return sum;
    }

    // A w = b for a symmetric positive definite A, by Cholesky's A = L Lᵀ.
    private static double[] Solve(double[] a, double[] b)
    {
        int d = b.Length;
        double[] l = [.. a], w = [.. b];
        for (int j = 0; j < d; j++)
        {
            for (int i = j; i < d; i++)
            {
                double sum = l[i * d + j];
                for (int k = 0; k < j; k++)
                    sum -= l[i * d + k] * l[j * d + k];
                l[i * d + j] = i == j ? Math.Sqrt(sum) : sum / l[j * d + j];
            }
        }

        for (int i = 0; i < d; i++)
        {
            for (int k = 0; k < i; k++)
                w[i] -= l[i * d + k] * w[k];
            w[i] /= l[i * d + i];
        }

        for (int i = d - 1; i >= 0; i--)
        {
            for (int k = i + 1; k < d; k++)
                w[i] -= l[k * d + i] * w[k];
            w[i] /= l[i * d + i];
        }

        return w;
    }
}
