using System.Globalization;
using NestedLearning.Testing;

namespace NestedLearning.Reliability;

/// <summary>
/// How exact forms of a recursive ridge memory are after many samples: the specification's P in float32, in two float32, in float64, the
/// factors of P rounded to float32, and those in float64, which the library has. Judged by the normal equations, whose sums are
/// solved once.
/// </summary>
internal static class RidgePrecision
{
    private const int Features = 16;

    private static readonly (string Name, Func<double, double> Rounded)[] s_storages =
    [
        ("float32", e => (float)e), ("two float32", e => (float)e + (double)(float)(e - (float)e)), ("float64", e => e),
    ];

    public static int Run(int samples)
    {
        Console.WriteLine("| | form | error of W | error of P | P |");
        Console.WriteLine("| --- | --- | ---: | ---: | --- |");
        foreach ((string name, double forget, double delta, int quiet) in ((string, double, double, int)[])
            [("nothing forgotten", 1, 1e-4, 0), ("λ = 0.999", 0.999, 1e-4, 0), ("λ = 0.99, four features without samples", 0.99, 1e-4, 4)])
        {
            int count = quiet > 0 ? Math.Min(samples, 20_000) : samples;
            (float[] x, float[] y) = Samples(count, quiet);
            (double[] w, double[] p) = ReferenceRidge.Joint(Features, 1, x, y, delta, forget);
            string what = $"{name}, {count.ToString("N0", CultureInfo.InvariantCulture)} samples";
            foreach ((string storage, Func<double, double> rounded) in s_storages)
                Report(what, $"P in {storage}", Recursion(x, y, delta, forget, rounded), w, p);
            Report(what, "factors in float32", Factored(x, y, delta, forget, e => (float)e), w, p);
            Report(what, "factors in float64", Library(x, y, delta, forget), w, p);
        }

        return 0;
    }

    // Features whose scales differ by 2^10; the quiet ones are heard in the last samples.
    private static (float[] X, float[] Y) Samples(int count, int quiet)
    {
        var data = new TestData(1);
        float[] x = data.Normal(count * Features), y = data.Normal(count), common = data.Normal(count);
        for (int t = 0; t < count; t++)
        {
            for (int i = 0; i < Features; i++)
            {
                bool silent = i < quiet && t < count - 3 * Features;
                x[t * Features + i] = silent ? 0 : MathF.ScaleB(x[t * Features + i] + 3 * common[t], i % 11 - 5);
                y[t] += 0.5f * x[t * Features + i];
            }
        }

        return (x, y);
    }

    private static (double[] W, double[] P) Recursion(float[] x, float[] y, double delta, double forget, Func<double, double> rounded)
    {
        double[] w = new double[Features], p = new double[Features * Features], read = new double[Features];
        for (int i = 0; i < Features; i++)
            p[i * Features + i] = 1 / delta;
        for (int t = 0; t < y.Length; t++)
        {
            double scale = forget, answer = 0;
            for (int i = 0; i < Features; i++)
            {
                read[i] = 0;
                for (int j = 0; j < Features; j++)
                    read[i] += p[i * Features + j] * x[t * Features + j];
                scale += read[i] * x[t * Features + i];
                answer += w[i] * x[t * Features + i];
            }

            for (int i = 0; i < Features; i++)
            {
                w[i] += read[i] / scale * (y[t] - answer);
                for (int j = 0; j <= i; j++)
                    p[j * Features + i] = p[i * Features + j] =
                        rounded((p[i * Features + j] - read[i] * read[j] / scale) / forget);
            }
        }

        return (w, p);
    }

    // P = Lᵀ diag(d) L, a sample at a time.
    private static (double[] W, double[] P) Factored(float[] x, float[] y, double delta, double forget, Func<double, double> rounded)
    {
        double[] w = new double[Features], l = new double[Features * Features], d = new double[Features];
        for (int i = 0; i < Features; i++)
            (d[i], l[i * Features + i]) = (1 / delta, 1);
        for (int t = 0; t < y.Length; t++)
        {
            double alpha = forget, answer = 0;
            double[] gain = new double[Features];
            for (int j = 0; j < Features; j++)
            {
                double f = 0;
                for (int i = 0; i <= j; i++)
                    f += l[j * Features + i] * x[t * Features + i];
                double v = d[j] * f, before = alpha;
                alpha += f * v;
                d[j] = rounded(d[j] * before / (alpha * forget));
                for (int i = 0; i <= j; i++)
                {
                    double element = l[j * Features + i];
                    l[j * Features + i] = i == j ? 1 : rounded(element - f / before * gain[i]);
                    gain[i] += v * element;
                }

                answer += w[j] * x[t * Features + j];
            }

            for (int i = 0; i < Features; i++)
                w[i] += gain[i] / alpha * (y[t] - answer);
        }

        double[] p = new double[Features * Features];
        for (int j = 0; j < Features; j++)
        {
            for (int a = 0; a <= j; a++)
            {
                for (int b = 0; b <= j; b++)
                    p[a * Features + b] += l[j * Features + a] * d[j] * l[j * Features + b];
            }
        }

        return (w, p);
    }

    private static (double[] W, double[] P) Library(float[] x, float[] y, double delta, double forget)
    {
        using var device = Device.Open();
        using var state = new RidgeState(device, Features, 1, delta);
        using Tensor keys = device.From([y.Length, Features], x), targets = device.From([y.Length, 1], y);
        Ridge.Learn(state, keys, targets, forget);
        double[] w = [.. state.W.ToArray().Zip(state.WLow.ToArray(), (high, low) => (double)high + low)];
        return (w, state.Covariance());
    }

    private static void Report(string what, string form, (double[] W, double[] P) actual, double[] w, double[] p)
    {
        double error = 0;
        for (int i = 0; i < Features; i++)
        {
            for (int j = 0; j < Features; j++)
            {
                double difference = actual.P[i * Features + j] - p[i * Features + j];
                error = Math.Max(error, Math.Abs(difference) / Math.Sqrt(p[i * Features + i] * p[j * Features + j]));
            }
        }

        // Cholesky's factors exist of positive matrices alone.
        double[] identity = new double[Features * Features];
        bool positive = ReferenceRidge.Solve(actual.P, identity, Features, 1).All(double.IsFinite);
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"| {what} | {form} | {Relative(actual.W, w):0.0e+0} | {error:0.0e+0} | {(positive ? "positive" : "not positive")} |"));
    }

    // Of each weight to itself, as features have scales.
    private static double Relative(double[] actual, double[] expected) =>
        actual.Zip(expected, (a, b) => Math.Abs(a - b) / Math.Max(Math.Abs(b), 1e-3)).Max();
}
