namespace NestedLearning.Models.Learning;

/// <summary>B regression tasks of T examples each.</summary>
/// <param name="Batch">B.</param>
/// <param name="Dim">D.</param>
/// <param name="X">Inputs [B, T, D].</param>
/// <param name="Y">Targets [B, T].</param>
/// <param name="Support">The number of examples to learn from before the others are asked; 0: each is asked, then learned from.</param>
public sealed record RegressionEpisode(int Batch, int Dim, float[] X, float[] Y, int Support = 0)
{
    /// <summary>T.</summary>
    public int Time => Y.Length / Batch;

    /// <summary>Examples <paramref name="start"/> to <paramref name="end"/> − 1 of every task.</summary>
    internal (float[] X, float[] Y) Slice(int start, int end)
    {
        float[] x = new float[Batch * (end - start) * Dim], y = new float[Batch * (end - start)];
        for (int b = 0; b < Batch; b++)
        {
            Array.Copy(X, (b * Time + start) * Dim, x, b * (end - start) * Dim, (end - start) * Dim);
            Array.Copy(Y, b * Time + start, y, b * (end - start), end - start);
        }

        return (x, y);
    }
}

/// <summary>
/// Linear functions to be learned in context (Garg et al., arXiv 2208.01066): y = ⟨w, x⟩ + σ n with w ~ N(m, I/D) for each
/// task, x ~ N(0, I), n ~ N(0, 1).
/// </summary>
/// <param name="dim">D.</param>
/// <param name="time">T.</param>
/// <param name="noise">σ.</param>
/// <param name="support">See <see cref="RegressionEpisode"/>.</param>
/// <param name="mean">m, what all tasks have in common; null is 0.</param>
public sealed class LinearRegression(int dim, int time, float noise, int support = 0, float[]? mean = null)
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

        return new RegressionEpisode(batch, dim, x, y, support);
    }
}
