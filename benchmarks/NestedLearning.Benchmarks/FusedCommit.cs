using System.Diagnostics;
using System.Globalization;
using System.Text;
using NestedLearning.CommandLine.Bench;

namespace NestedLearning.Benchmarks;

/// <summary>
/// A weight [M, 2048]'s gradient from a chunk's tokens and its AdamW step, one after the other and in one: ours alone.
/// Both take turns, so that a neighbour on the machine slows both, and what is kept is the median of their ratio.
/// </summary>
internal static class FusedCommit
{
    private const int N = 2048;

    private static readonly AdamSettings s_settings = new(1e-3f, 0.9, 0.999, 1e-8f, 0.01f, Decoupled: true, Step: 10, GradientScale: 1)
    {
        GradientIsBounded = true,
    };

    /// <summary>The table of all shapes.</summary>
    public static string Measure(Device device)
    {
        var table = new StringBuilder(string.Create(CultureInfo.InvariantCulture,
            $"""
            A weight's gradient and its AdamW step: `{device.Name}`, {device.Description},
            {Environment.ProcessorCount} threads, {DateTime.UtcNow:yyyy-MM-dd}. Medians in ms of turns that alternate, and of the ratio
            of each pair, with its quartiles. `./build.sh bench --fused-commit`

            | weight | tokens | product, then step | in one | in one / apart |
            | --- | ---: | ---: | ---: | ---: |

            """));
        foreach (int m in (int[])[512, 2048])
        {
            foreach (int tokens in (int[])[64, 256, 1024, 2048])
                table.AppendLine(Row(device, m, tokens));
        }

        return table.ToString();
    }

    private static string Row(Device device, int m, int tokens)
    {
        using var t = new BenchTensors(device);
        var weight = new AdamTensors(t.Uniform("w", [m, N]), t.Zeros("g", [m, N]), t.Zeros("m", [m, N]), t.Zeros("v", [m, N]));
        var product = new GemmArguments
        {
            A = t.Uniform("x", [tokens, m]), B = t.Uniform("dy", [tokens, N]), C = weight.G, TransposeA = true,
        };

        double Apart() => Milliseconds(() =>
        {
            Gemm.Multiply(product);
            AdamCommit.Apply(weight.W, weight.G, weight.M, weight.V, s_settings);
        });
        double Fused() => Milliseconds(() => GemmAdamCommit.Apply(product.A, product.B, null, weight.W, weight.M, weight.V, s_settings));

        Apart();
        int turns = (int)Math.Clamp(4000 / (Apart() + Fused()), 21, 401);
        double[] apart = new double[turns], fused = new double[turns], ratios = new double[turns];
        for (int i = 0; i < turns; i++)
        {
            if (i % 2 == 0)
                (apart[i], fused[i]) = (Apart(), Fused());
            else
                (fused[i], apart[i]) = (Fused(), Apart());
            ratios[i] = fused[i] / apart[i];
        }

        return string.Create(CultureInfo.InvariantCulture,
            $"| {m} × {N} | {tokens} | {Quantile(apart, 0.5):F2} | {Quantile(fused, 0.5):F2} | {Quantile(ratios, 0.5):F2} " +
            $"({Quantile(ratios, 0.25):F2} to {Quantile(ratios, 0.75):F2}) |");
    }

    private static double Milliseconds(Action run)
    {
        long start = Stopwatch.GetTimestamp();
        run();
        return Stopwatch.GetElapsedTime(start).TotalMilliseconds;
    }

    private static double Quantile(double[] values, double share) => values.Order().ElementAt((int)(share * (values.Length - 1)));
}
