namespace NestedLearning.Models.Learning;

/// <summary>
/// B tasks of T examples each: inputs x [B, T, D], targets y [B, T]; to be learned in context, each y predicted from the
/// examples before it.
/// </summary>
public sealed record RegressionEpisode(int Batch, int Dim, float[] X, float[] Y)
{
    /// <summary>T.</summary>
    public int Time => Y.Length / Batch;
}

/// <summary>
/// Linear functions to be learned in context (Garg et al., arXiv 2208.01066): y = ⟨w, x⟩ + σ n with w ~ N(m, I/D) for each
/// task, x ~ N(0, I), n ~ N(0, 1).
/// </summary>
/// <param name="dim">D.</param>
/// <param name="time">T.</param>
/// <param name="noise">σ.</param>
/// <param name="mean">m, what all tasks have in common; null is 0.</param>
public sealed class LinearRegression(int dim, int time, float noise, float[]? mean = null)
{
    /// <summary>Episode number <paramref name="number"/> of a seed.</summary>
    public RegressionEpisode Draw(ulong seed, ulong number, int batch)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(batch);
        var random = new RandomSource(seed, number);
        float[] x = new float[batch * time * dim], y = new float[batch * time], w = new float[dim];
        float deviation = 1 / MathF.Sqrt(dim);
        for (int b = 0; b < batch; b++)
        {
            for (int d = 0; d < dim; d++)
                w[d] = (mean?[d] ?? 0) + deviation * random.Normal();
            for (int t = b * time; t < (b + 1) * time; t++)
            {
                float sum = noise * random.Normal();
                for (int d = 0; d < dim; d++)
                    sum += w[d] * (x[t * dim + d] = random.Normal());
                y[t] = sum;
            }
        }

        return new RegressionEpisode(batch, dim, x, y);
    }
}
