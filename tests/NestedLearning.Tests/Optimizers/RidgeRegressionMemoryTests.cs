using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>
/// NL 100–105: Adam is the best memory of a kind. Take, for each element, a memory m that answers each gradient g_i it has
/// seen with P, trained by ridge regression under the weights ω_i with which the past is remembered:
/// <code>
/// L(m) = Σ ω_i (m g_i − P)² + λ m²
/// dL/dm = 0  ⇒  m* = (H + λ)⁻¹ M P,   M = Σ ω_i g_i,   H = Σ ω_i g_i²
/// </code>
/// With P = √H and λ → 0 it is m* = M/√H, and with ω_i = (1 − β) βⁿ⁻ⁱ/(1 − βⁿ), which are Adam's weights after its bias
/// correction, M = m̂ and H = v̂: Adam's direction m̂/√v̂.
/// </summary>
public abstract class RidgeRegressionMemoryTests(string backend) : BackendTests(backend)
{
    private const int Count = 40, Steps = 12;
    private const float Rate = 0.01f;

    [Theory]
    [InlineData(0.9)]
    [InlineData(0.5)]
    public void AdamsDirection_IsTheMinimiser(double beta)
    {
        float[][] gradients = Gradients();
        float[] direction = AdamsDirection(gradients, beta, beta, 0);
        double[] weights = Weights(beta), expected = new double[Count];
        for (int e = 0; e < Count; e++)
        {
            double target = Math.Sqrt(Sum(weights, i => (double)gradients[i][e] * gradients[i][e]));
            expected[e] = Vertex(m => Sum(weights, i => Square(m * gradients[i][e] - target)));
        }

        Compare.Close("direction", direction, expected, DirectionTolerance);
    }

    [Theory]
    [InlineData(1e-3)]
    [InlineData(0.1)]
    public void ARidge_IsAdamsEpsilon_TimesTheRoot(double ridge)
    {
        // m̂ √v̂/(v̂ + λ) = m̂/(√v̂ + ε) with ε = λ/√v̂, by elements; the minimiser of the ridge objective against Adam's
        // own moments.
        float[][] gradients = Gradients();
        (double[] first, double[] second) = AdamsMoments(gradients, 0.8, 0.8);
        double[] weights = Weights(0.8), minimiser = new double[Count], adam = new double[Count];
        for (int e = 0; e < Count; e++)
        {
            double target = Math.Sqrt(Sum(weights, i => (double)gradients[i][e] * gradients[i][e]));
            minimiser[e] = Vertex(m => Sum(weights, i => Square(m * gradients[i][e] - target)) + ridge * m * m);
            double root = Math.Sqrt(second[e]);
            adam[e] = first[e] / (root + ridge / root);
        }

        Compare.Close("direction", adam, minimiser, DirectionTolerance);
    }

    [Theory]
    [InlineData(0.9, 0.999)]
    [InlineData(0.8, 0.95)]
    public void WithTwoDecays_TheClosedFormIsAdams(double beta1, double beta2)
    {
        // What M and H forget at their own rates is no longer one objective's minimiser; the closed form stays, and Adam's
        // direction with it: (H + λ)⁻¹ ⊙ M ⊙ P with P = √H and λ = 0, from sums over the gradients themselves.
        float[][] gradients = Gradients();
        float[] direction = AdamsDirection(gradients, beta1, beta2, 0);
        double[] weights1 = Weights(beta1), weights2 = Weights(beta2), expected = new double[Count];
        for (int e = 0; e < Count; e++)
        {
            double mean = Sum(weights1, i => gradients[i][e]), square = Sum(weights2, i => (double)gradients[i][e] * gradients[i][e]);
            expected[e] = 1 / square * mean * Math.Sqrt(square);
        }

        Compare.Close("direction", direction, expected, DirectionTolerance);
    }

    // The direction is read off a weight of magnitude η in float32.
    private static double DirectionTolerance => Tolerances.Optimizer.Forward;

    private static float[][] Gradients()
    {
        var data = new TestData(31);
        return [.. Enumerable.Range(0, Steps).Select(_ => data.Normal(Count))];
    }

    // (1 − β) βⁿ⁻ⁱ/(1 − βⁿ) for the gradients i = 1..n.
    private static double[] Weights(double beta) =>
        [.. Enumerable.Range(1, Steps).Select(i => (1 - beta) * Math.Pow(beta, Steps - i) / (1 - Math.Pow(beta, Steps)))];

    private static double Sum(double[] weights, Func<int, double> term) => weights.Select((w, i) => w * term(i)).Sum();

    private static double Square(double x) => x * x;

    // Where a parabola has its least value, from three of its values.
    private static double Vertex(Func<double, double> parabola)
    {
        double low = parabola(-1), middle = parabola(0), high = parabola(1);
        return (low - high) / (2 * (low - 2 * middle + high));
    }

    // Adam's last step from a weight of zero, over −η.
    private float[] AdamsDirection(float[][] gradients, double beta1, double beta2, float epsilon)
    {
        (Parameter parameter, OptimizerMemory memory) = New(beta1, beta2, epsilon);
        using (parameter)
        using (memory)
        {
            foreach (float[] g in gradients)
            {
                parameter.Value.Fill(0);
                parameter.Error.CopyFrom(g);
                memory.Commit(parameter, Rate, 1);
            }

            return Array.ConvertAll(parameter.Value.ToArray(), w => -w / Rate);
        }
    }

    // m̂ and v̂ of Adam's state.
    private (double[] First, double[] Second) AdamsMoments(float[][] gradients, double beta1, double beta2)
    {
        (Parameter parameter, OptimizerMemory memory) = New(beta1, beta2, 1e-8f);
        using (parameter)
        using (memory)
        {
            foreach (float[] g in gradients)
            {
                parameter.Error.CopyFrom(g);
                memory.Commit(parameter, Rate, 1);
            }

            double[] m = Compare.ToDouble(memory.State[0].Value.ToArray()), v = Compare.ToDouble(memory.State[1].Value.ToArray());
            return (Array.ConvertAll(m, x => x / (1 - Math.Pow(beta1, Steps))), Array.ConvertAll(v, x => x / (1 - Math.Pow(beta2, Steps))));
        }
    }

    private (Parameter Parameter, OptimizerMemory Memory) New(double beta1, double beta2, float epsilon)
    {
        var parameter = new Parameter("w", Device.Zeros([Count]));
        return (parameter, new Adam { Beta1 = beta1, Beta2 = beta2, Epsilon = Math.Max(epsilon, 1e-30f) }.CreateMemory(parameter));
    }
}

public sealed class ManagedRidgeRegressionMemoryTests() : RidgeRegressionMemoryTests("managed");

public sealed class CpuRidgeRegressionMemoryTests() : RidgeRegressionMemoryTests("cpu");
