namespace NestedLearning.Models.Learning;

/// <summary>
/// What can be known of a linear function after some examples, in closed form and double precision:
/// <code>
/// w = argmin Σ (y_t − ⟨w, x_t⟩)² + λ ‖w‖² = (Xᵀ X + λ I)⁻¹ Xᵀ y
/// </code>
/// With λ = σ² D the mean of the posterior under w ~ N(0, I/D) and noise σ: no learner has a lower expected error.
/// λ → 0 is least squares, of least norm while there are fewer examples than dimensions.
/// </summary>
public static class RidgeRegression
{
    /// <summary>For each example, the prediction from those before it: x [B, T, D], y [B, T]; result [B, T].</summary>
    /// <exception cref="ArgumentOutOfRangeException">λ is not above 0.</exception>
    public static double[] PredictEach(RegressionEpisode episode, double lambda)
    {
        ArgumentNullException.ThrowIfNull(episode);
        if (!(lambda > 0))
            throw new ArgumentOutOfRangeException(nameof(lambda), lambda, $"lambda is {lambda}, expected above 0.");
        int d = episode.Dim, time = episode.Time;
        double[] predictions = new double[episode.Y.Length];
        for (int b = 0; b < episode.Batch; b++)
        {
            double[] gram = new double[d * d], moment = new double[d];
            for (int i = 0; i < d; i++)
                gram[i * d + i] = lambda;
            for (int t = b * time; t < (b + 1) * time; t++)
            {
                ReadOnlySpan<float> x = episode.X.AsSpan(t * d, d);
                double[] w = Solve(gram, moment);
                for (int i = 0; i < d; i++)
                    predictions[t] += w[i] * x[i];
                for (int i = 0; i < d; i++)
                {
                    moment[i] += episode.Y[t] * x[i];
                    for (int j = 0; j < d; j++)
                        gram[i * d + j] += (double)x[i] * x[j];
                }
            }
        }

        return predictions;
    }

    /// <summary>The solution of A w = b for a symmetric positive definite A [D, D], by Cholesky's A = L Lᵀ.</summary>
    /// <exception cref="ArgumentException">A is not positive definite.</exception>
    public static double[] Solve(ReadOnlySpan<double> a, ReadOnlySpan<double> b)
    {
        int d = b.Length;
        double[] l = a.ToArray(), w = b.ToArray();
        for (int j = 0; j < d; j++)
        {
            for (int i = j; i < d; i++)
            {
                double sum = l[i * d + j];
                for (int k = 0; k < j; k++)
                    sum -= l[i * d + k] * l[j * d + k];
                if (i == j && !(sum > 0))
                    throw new ArgumentException($"The matrix is not positive definite: pivot {j} is {sum}.", nameof(a));
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
