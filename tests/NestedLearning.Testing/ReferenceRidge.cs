namespace NestedLearning.Testing;

/// <summary>
/// Ridge regression in double, in two forms that are nothing like the kernels': the specification's recursion over the covariance, and the
/// normal equations, whose matrix is summed up and solved. Of many samples, or with forgetting, the second one is exact: what it rounds
/// is forgotten with the samples.
/// </summary>
public static class ReferenceRidge
{
    /// <summary>g = P x/(λ + xᵀ P x), W ← W + g (y − x W), P ← (P − g xᵀ P)/λ, from W = 0 and P = I/δ.</summary>
    /// <returns>The answers before each sample was learned [T, V], W [D, V] and P [D, D].</returns>
    public static (double[] O, double[] W, double[] P) Recursion(int features, int outputs, float[] x, float[] y, double delta,
        double forget)
    {
        int samples = features == 0 ? 0 : x.Length / features;
        double[] o = new double[samples * outputs], w = new double[features * outputs], p = new double[features * features];
        for (int i = 0; i < features; i++)
            p[i * features + i] = 1 / delta;
        for (int t = 0; t < samples; t++)
        {
            ReadOnlySpan<float> key = x.AsSpan(t * features, features);
            double[] read = new double[features];
            double scale = forget;
            for (int i = 0; i < features; i++)
            {
                for (int j = 0; j < features; j++)
                    read[i] += p[i * features + j] * key[j];
                scale += read[i] * key[i];
            }

            for (int k = 0; k < outputs; k++)
            {
                double answer = 0;
                for (int i = 0; i < features; i++)
                    answer += key[i] * w[i * outputs + k];
                o[t * outputs + k] = answer;
                for (int i = 0; i < features; i++)
                    w[i * outputs + k] += read[i] / scale * (y[t * outputs + k] - answer);
            }

            for (int i = 0; i < features; i++)
            {
                for (int j = 0; j < features; j++)
                    p[i * features + j] = (p[i * features + j] - read[i] * read[j] / scale) / forget;
            }
        }

        return (o, w, p);
    }

    /// <summary>W = A⁻¹ B and P = A⁻¹ with A = Σ λ^{T−t} xᵀx + λ^T δ and B = Σ λ^{T−t} xᵀy.</summary>
    public static (double[] W, double[] P) Joint(int features, int outputs, float[] x, float[] y, double delta, double forget)
    {
        int samples = features == 0 ? 0 : x.Length / features;
        double[] a = new double[features * features], b = new double[features * outputs];
        for (int i = 0; i < features; i++)
            a[i * features + i] = delta;
        for (int t = 0; t < samples; t++)
        {
            for (int i = 0; i < features; i++)
            {
                double key = x[t * features + i];
                for (int j = 0; j < features; j++)
                    a[i * features + j] = forget * a[i * features + j] + key * x[t * features + j];
                for (int k = 0; k < outputs; k++)
                    b[i * outputs + k] = forget * b[i * outputs + k] + key * y[t * outputs + k];
            }
        }

        double[] identity = new double[features * features];
        for (int i = 0; i < features; i++)
            identity[i * features + i] = 1;
        return (Solve(a, b, features, outputs), Solve(a, identity, features, features));
    }

    /// <summary>A⁻¹ B of a symmetric positive A [n, n] and B [n, columns], by Cholesky's factors.</summary>
    public static double[] Solve(double[] a, double[] b, int n, int columns)
    {
        double[] l = (double[])a.Clone(), x = (double[])b.Clone();
        for (int j = 0; j < n; j++)
        {
            for (int k = 0; k < j; k++)
            {
                for (int i = j; i < n; i++)
                    l[i * n + j] -= l[i * n + k] * l[j * n + k];
            }

            double root = Math.Sqrt(l[j * n + j]);
            for (int i = j; i < n; i++)
                l[i * n + j] /= root;
        }

        for (int c = 0; c < columns; c++)
        {
            for (int i = 0; i < n; i++)
            {
                for (int k = 0; k < i; k++)
                    x[i * columns + c] -= l[i * n + k] * x[k * columns + c];
                x[i * columns + c] /= l[i * n + i];
            }

            for (int i = n - 1; i >= 0; i--)
            {
                for (int k = i + 1; k < n; k++)
                    x[i * columns + c] -= l[k * n + i] * x[k * columns + c];
                x[i * columns + c] /= l[i * n + i];
            }
        }

        return x;
    }
}
