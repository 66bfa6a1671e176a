namespace NestedLearning.Testing;

/// <summary>
/// The dense operations in double, written as their equations stand: plain loops, no blocking, nothing shared with a
/// kernel. Matrices are row-major; gradients are returned by themselves, to be added to what was there before.
/// </summary>
public static class ReferenceDense
{
    /// <summary>op(A) op(B) + bias [M, N], before any epilogue; A [M, K] or [K, M], B [K, N] or [N, K].</summary>
    public static double[] Product(int m, int n, int k, double[] a, bool transposeA, double[] b, bool transposeB, double[]? bias)
    {
        double[] c = new double[m * n];
        for (int i = 0; i < m; i++)
        {
            for (int j = 0; j < n; j++)
            {
                double sum = bias is null ? 0 : bias[j];
                int atA = transposeA ? i : i * k, stepA = transposeA ? m : 1;
                int atB = transposeB ? j * k : j, stepB = transposeB ? 1 : n;
                for (int p = 0; p < k; p++)
                    sum += a[atA + p * stepA] * b[atB + p * stepB];
                c[i * n + j] = sum;
            }
        }

        return c;
    }

    /// <summary>X of g [rows, columns]: its values over their norm (zero stays zero), then the quintic, transposed when tall.</summary>
    public static double[] NewtonSchulz(int rows, int columns, double[] g, int steps)
    {
        bool tall = rows > columns;
        (int r, int c) = tall ? (columns, rows) : (rows, columns);
        double norm = Math.Sqrt(g.Sum(e => e * e));
        norm = norm > 0 ? norm : 1;
        double[] x = Array.ConvertAll(tall ? Transpose(rows, columns, g) : g, e => e / norm);
        for (int step = 0; step < steps; step++)
        {
            double[] a = Product(r, r, c, x, false, x, true, null), square = Product(r, r, r, a, false, a, false, null);
            double[] terms = new double[r * r];
            for (int i = 0; i < terms.Length; i++)
                terms[i] = -4.7750 * a[i] + 2.0315 * square[i];
            double[] product = Product(r, c, r, terms, false, x, false, null);
            for (int i = 0; i < x.Length; i++)
                x[i] = 3.4445 * x[i] + product[i];
        }

        return tall ? Transpose(columns, rows, x) : x;
    }

    /// <summary>The transpose of x [rows, columns].</summary>
    public static double[] Transpose(int rows, int columns, double[] x)
    {
        double[] y = new double[x.Length];
        for (int i = 0; i < rows; i++)
        {
            for (int j = 0; j < columns; j++)
                y[j * rows + i] = x[i * columns + j];
        }

        return y;
    }

    /// <summary>Σ over rows of x [rows, width].</summary>
    public static double[] ColumnSum(double[] x, int width)
    {
        double[] sums = new double[width];
        for (int i = 0; i < x.Length; i++)
            sums[i % width] += x[i];
        return sums;
    }

    /// <summary>The norm of each row of x [rows, width].</summary>
    public static double[] Norm(NormKind kind, double[] x, int width, double[]? gain, double[]? bias, double epsilon)
    {
        double[] y = new double[x.Length];
        for (int start = 0; start < x.Length; start += width)
        {
            (double centre, double scale) = RowStatistics(kind, x.AsSpan(start, width), epsilon);
            for (int i = 0; i < width; i++)
                y[start + i] = (gain is null ? 1 : gain[i]) * (x[start + i] - centre) * scale + (bias is null ? 0 : bias[i]);
        }

        return y;
    }

    /// <summary>The gradients of <see cref="Norm"/>, from its Jacobian row by row.</summary>
    public static (double[] X, double[] Gain, double[] Bias) NormBackward(NormKind kind, double[] x, int width, double[]? gain,
        double epsilon, double[] dy)
    {
        double[] dx = new double[x.Length], dGain = new double[width], dBias = new double[width];
        for (int start = 0; start < x.Length; start += width)
        {
            (double centre, double scale) = RowStatistics(kind, x.AsSpan(start, width), epsilon);
            for (int i = 0; i < width; i++)
            {
                double centred = x[start + i] - centre;
                dGain[i] += dy[start + i] * centred * scale;
                dBias[i] += dy[start + i];

                // ∂y_i/∂x_j = g_i (scale (δ_ij − [Layer] 1/D) + centred_i ∂scale/∂x_j)
                double h = dy[start + i] * (gain is null ? 1 : gain[i]);
                for (int j = 0; j < width; j++)
                {
                    double scaleGradient = -scale * scale * scale * (x[start + j] - centre) / (kind == NormKind.L2 ? 1 : width);
                    double direct = (i == j ? 1 : 0) - (kind == NormKind.Layer ? 1.0 / width : 0);
                    dx[start + j] += h * (scale * direct + centred * scaleGradient);
                }
            }
        }

        return (dx, dGain, dBias);
    }

    /// <summary>y [B, T, D] and the last three inputs of each sequence [B, 3, D].</summary>
    public static (double[] Y, double[] NextState) Convolution(int batch, int time, int width, double[] x, double[] weight, double[]? bias,
        double[]? state)
    {
        double[] y = new double[x.Length], next = new double[batch * 3 * width];
        for (int b = 0; b < batch; b++)
        {
            for (int d = 0; d < width; d++)
            {
                for (int t = 0; t < time; t++)
                {
                    double sum = bias is null ? 0 : bias[d];
                    for (int j = 0; j < 4; j++)
                        sum += weight[d * 4 + j] * Input(x, state, b, t - 3 + j, d, time, width);
                    y[(b * time + t) * width + d] = sum;
                }

                for (int i = 0; i < 3; i++)
                    next[(b * 3 + i) * width + d] = Input(x, state, b, time - 3 + i, d, time, width);
            }
        }

        return (y, next);
    }

    /// <summary>The gradients of <see cref="Convolution"/>'s output.</summary>
    public static (double[] X, double[] Weight, double[] Bias) ConvolutionBackward(
        int batch, int time, int width, double[] x, double[] weight, double[]? state, double[] dy)
    {
        double[] dx = new double[x.Length], dWeight = new double[width * 4], dBias = new double[width];
        for (int b = 0; b < batch; b++)
        {
            for (int t = 0; t < time; t++)
            {
                for (int d = 0; d < width; d++)
                {
                    double g = dy[(b * time + t) * width + d];
                    dBias[d] += g;
                    for (int j = 0; j < 4; j++)
                    {
                        dWeight[d * 4 + j] += g * Input(x, state, b, t - 3 + j, d, time, width);
                        if (t - 3 + j >= 0)
                            dx[(b * time + t - 3 + j) * width + d] += g * weight[d * 4 + j];
                    }
                }
            }
        }

        return (dx, dWeight, dBias);
    }

    /// <summary>f(x) for one element.</summary>
    public static double Activate(Activation activation, double x) => activation switch
    {
        Activation.Sigmoid => x < 0 ? Math.Exp(x) / (1 + Math.Exp(x)) : 1 / (1 + Math.Exp(-x)),
        Activation.Softplus => Softplus(x),
        Activation.LogSigmoid => -Softplus(-x),
        Activation.Gelu => double.IsNegativeInfinity(x) ? 0 : x * NormalCumulative(x),
        _ => throw new ArgumentOutOfRangeException(nameof(activation)),
    };

    /// <summary>f'(x) for one element.</summary>
    public static double ActivateDerivative(Activation activation, double x) => activation switch
    {
        Activation.Sigmoid => Activate(Activation.Sigmoid, x) * Activate(Activation.Sigmoid, -x),
        Activation.Softplus => Activate(Activation.Sigmoid, x),
        Activation.LogSigmoid => Activate(Activation.Sigmoid, -x),
        Activation.Gelu => NormalCumulative(x) + (double.IsInfinity(x) ? 0 : x * Math.Exp(-x * x / 2) / Math.Sqrt(2 * Math.PI)),
        _ => throw new ArgumentOutOfRangeException(nameof(activation)),
    };

    /// <summary>Φ(x) to double's relative accuracy in both tails: near 0 by its series, in the tails by its continued fraction.</summary>
    public static double NormalCumulative(double x)
    {
        if (double.IsNaN(x))
            return x;
        double a = Math.Abs(x);
        double density = Math.Exp(-a * a / 2) / Math.Sqrt(2 * Math.PI);
        if (a < 2.5)
        {
            // Φ(x) = 1/2 + φ(x) (x + x³/3 + x⁵/(3·5) + …)
            double term = x, sum = x;
            for (int n = 1; n < 80; n++)
            {
                term *= x * x / (2 * n + 1);
                sum += term;
            }

            return 0.5 + density * sum;
        }

        // 1 − Φ(a) = φ(a) / (a + 1/(a + 2/(a + 3/(a + …))))
        double fraction = a;
        for (int n = 400; n >= 1; n--)
            fraction = a + n / fraction;
        double tail = density / fraction;
        return x < 0 ? tail : 1 - tail;
    }

    /// <summary>The rows of a table [V, width] chosen by tokens.</summary>
    public static double[] Embed(int[] tokens, double[] table, int width)
    {
        double[] y = new double[tokens.Length * width];
        for (int i = 0; i < y.Length; i++)
            y[i] = table[tokens[i / width] * width + i % width];
        return y;
    }

    /// <summary>Each token's row of dy added to the token's row of the table.</summary>
    public static double[] EmbedBackward(int[] tokens, double[] dy, int rows, int width)
    {
        double[] dTable = new double[rows * width];
        for (int i = 0; i < dy.Length; i++)
            dTable[tokens[i / width] * width + i % width] += dy[i];
        return dTable;
    }

    /// <summary>Losses and logsumexps of logits [N, classes]; a target of −1 takes no part.</summary>
    public static (double[] Losses, double[] LogSums) CrossEntropy(double[] logits, int[] targets, int classes)
    {
        double[] losses = new double[targets.Length], logSums = new double[targets.Length];
        for (int n = 0; n < targets.Length; n++)
        {
            ReadOnlySpan<double> row = logits.AsSpan(n * classes, classes);
            double maximum = double.NegativeInfinity, sum = 0;
            foreach (double logit in row)
                maximum = Math.Max(maximum, logit);
            foreach (double logit in row)
                sum += Math.Exp(logit - maximum);
            logSums[n] = maximum + Math.Log(sum);
            losses[n] = targets[n] < 0 ? 0 : logSums[n] - row[targets[n]];
        }

        return (losses, logSums);
    }

    /// <summary>(softmax − one-hot) · dLoss, or 0 where the target is −1.</summary>
    public static double[] CrossEntropyBackward(double[] logits, int[] targets, int classes, double[] dLosses)
    {
        (_, double[] logSums) = CrossEntropy(logits, targets, classes);
        double[] dLogits = new double[logits.Length];
        for (int i = 0; i < logits.Length; i++)
        {
            int n = i / classes;
            if (targets[n] >= 0)
                dLogits[i] = (Math.Exp(logits[i] - logSums[n]) - (i % classes == targets[n] ? 1 : 0)) * dLosses[n];
        }

        return dLogits;
    }

    /// <summary>One step of Adam (Kingma and Ba) or AdamW (Loshchilov and Hutter); w, m and v in and out.</summary>
    public static void Adam(double[] w, double[] g, double[] m, double[] v, AdamSettings s)
    {
        for (int i = 0; i < w.Length; i++)
        {
            double gradient = s.GradientScale * g[i];
            if (!s.Decoupled)
                gradient += (double)s.WeightDecay * w[i];
            m[i] = s.Beta1 * m[i] + (1 - s.Beta1) * gradient;
            v[i] = s.Beta2 * v[i] + (1 - s.Beta2) * gradient * gradient;
            double mean = m[i] / (1 - Math.Pow(s.Beta1, s.Step));
            double square = v[i] / (1 - Math.Pow(s.Beta2, s.Step));
            double decay = s.Decoupled ? (double)s.LearningRate * s.WeightDecay * w[i] : 0;
            w[i] -= decay + s.LearningRate * mean / (Math.Sqrt(square) + s.Epsilon);
        }
    }

    // log1p(e^−|x|), by its series where 1 + e^−|x| would round away what is added.
    private static double Softplus(double x)
    {
        double e = Math.Exp(-Math.Abs(x));
        double log = e < 1e-5 ? e - e * e / 2 + e * e * e / 3 : Math.Log(1 + e);
        return Math.Max(x, 0) + log;
    }

    private static (double Centre, double Scale) RowStatistics(NormKind kind, ReadOnlySpan<double> row, double epsilon)
    {
        double mean = 0, squares = 0;
        if (kind == NormKind.Layer)
        {
            foreach (double x in row)
                mean += x / row.Length;
        }

        foreach (double x in row)
            squares += (x - mean) * (x - mean);
        return (mean, 1 / Math.Sqrt(kind == NormKind.L2 ? squares + epsilon * epsilon : squares / row.Length + epsilon));
    }

    private static double Input(double[] x, double[]? state, int b, int t, int d, int time, int width) =>
        t >= 0 ? x[(b * time + t) * width + d] : state is null ? 0 : state[(b * 3 + 3 + t) * width + d];
}
