using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>Cross-entropy fused with the product that makes its logits, against both in double.</summary>
public abstract class LinearCrossEntropyTests(string backend) : DenseTests(backend)
{
    // [rows, classes, D]; in the last one block of rows is not enough.
    private static readonly int[][] s_shapes = [[1, 1, 1], [1, 9, 5], [3, 17, 8], [40, 33, 12], [70, 130000, 2]];

    public static TheoryData<int> Shapes() => [.. Enumerable.Range(0, s_shapes.Length)];

    [Theory]
    [MemberData(nameof(Shapes))]
    public void ForwardAndBackward_MatchReference(int shape)
    {
        var c = new Case(this, s_shapes[shape]);
        Tensor losses = Output([c.Rows]), logSums = Output([c.Rows]), dx = Output([c.Rows, c.Dim]),
            dWeight = InOut([c.Classes, c.Dim], c.Start);
        LinearCrossEntropy.Forward(c.X, c.Weight, c.Targets, losses, logSums);
        LinearCrossEntropy.Backward(c.X, c.Weight, c.Targets, logSums, c.DLosses, dx, dWeight);
        c.Check(losses, dx, dWeight, Elements(c.DLosses));
    }

    [Theory]
    [MemberData(nameof(Shapes))]
    public void WithGradient_MatchesReference(int shape)
    {
        var c = new Case(this, s_shapes[shape]);
        Tensor losses = Output([c.Rows]), dx = Output([c.Rows, c.Dim]), dWeight = InOut([c.Classes, c.Dim], c.Start);
        LinearCrossEntropy.WithGradient(c.X, c.Weight, c.Targets, 0.5f, losses, dx, dWeight);
        double[] half = new double[c.Rows];
        half.AsSpan().Fill(0.5);
        c.Check(losses, dx, dWeight, half);
    }

    [Fact]
    public void GradientsThatAreNotWanted_ChangeNoOther()
    {
        var c = new Case(this, s_shapes[3]);
        Tensor losses = Output([c.Rows]), logSums = Output([c.Rows]), dx = Output([c.Rows, c.Dim]),
            dWeight = InOut([c.Classes, c.Dim], c.Start);
        LinearCrossEntropy.Forward(c.X, c.Weight, c.Targets, losses, logSums);
        LinearCrossEntropy.Backward(c.X, c.Weight, c.Targets, logSums, c.DLosses, dx, null);
        LinearCrossEntropy.Backward(c.X, c.Weight, c.Targets, logSums, c.DLosses, null, dWeight);
        c.Check(losses, dx, dWeight, Elements(c.DLosses));
        Tensor again = Output([c.Rows]);
        LinearCrossEntropy.WithGradient(c.X, c.Weight, c.Targets, 1, again, null, null);
        Compare.Close("losses", again, losses.ToArray(), Tolerances.CrossEntropy.Forward);
    }

    [LargeFact]
    public void Threads_DoNotChangeBits()
    {
        SameBitsForAnyThreads(() =>
        {
            var c = new Case(this, [90, 300, 20]);
            Tensor losses = Output([c.Rows]), logSums = Output([c.Rows]), dx = Output([c.Rows, c.Dim]),
                dWeight = InOut([c.Classes, c.Dim], c.Start);
            LinearCrossEntropy.Forward(c.X, c.Weight, c.Targets, losses, logSums);
            LinearCrossEntropy.Backward(c.X, c.Weight, c.Targets, logSums, c.DLosses, dx, dWeight);
            return [("losses", losses.ToArray()), ("dx", dx.ToArray()), ("dWeight", dWeight.ToArray())];
        });
    }

    [Fact]
    public void BadInput_IsRefusedBeforeAnythingIsWritten()
    {
        var c = new Case(this, s_shapes[2]);
        Tensor losses = Output([3]), logSums = Output([3]), dx = Output([3, 8]);
        using IndexTensor beyond = Device.FromIndices([3], [0, 17, 1]), few = Device.FromIndices([2], [0, 1]);
        Refused("weight has shape [17, 9], expected [17, 8]", () =>
            LinearCrossEntropy.Forward(c.X, Zeros([17, 9]), c.Targets, losses, logSums));
        Refused("A target is 17, expected -1 to 16", () => LinearCrossEntropy.Forward(c.X, c.Weight, beyond, losses, logSums));
        Refused("There are 2 targets, expected 3", () => LinearCrossEntropy.Forward(c.X, c.Weight, few, losses, logSums));
        Refused("logSums has shape [4], expected 3 elements", () =>
            LinearCrossEntropy.Forward(c.X, c.Weight, c.Targets, losses, Zeros([4])));
        Refused("dx has shape [3, 7], expected [3, 8]", () =>
            LinearCrossEntropy.WithGradient(c.X, c.Weight, c.Targets, 1, losses, Zeros([3, 7]), null));
        Refused("gradientScale is NaN", () => LinearCrossEntropy.WithGradient(c.X, c.Weight, c.Targets, float.NaN, losses, dx, null));
        Assert.All([.. losses.ToArray(), .. logSums.ToArray(), .. dx.ToArray()], e => Assert.True(float.IsNaN(e)));

        static void Refused(string message, Action action) =>
            Assert.Contains(message, Assert.ThrowsAny<ArgumentException>(action).Message, StringComparison.Ordinal);
    }

    private sealed class Case
    {
        public Case(LinearCrossEntropyTests tests, int[] shape)
        {
            (Rows, Classes, Dim) = (shape[0], shape[1], shape[2]);
            var data = new TestData((ulong)(Rows * 1000 + Classes));
            X = tests.Input([Rows, Dim], data.Normal(Rows * Dim));
            Weight = tests.Input([Classes, Dim], data.Normal(Classes * Dim));
            DLosses = tests.Input([Rows], data.Uniform(Rows, 0.5f, 1.5f));
            Start = data.Normal(Classes * Dim);
            int[] targets = data.Below(Rows, Classes);
            if (Rows > 2)
                targets[1] = -1;
            Targets = tests.Device.FromIndices([Rows], targets);
        }

        public int Rows { get; }

        public int Classes { get; }

        public int Dim { get; }

        public Tensor X { get; }

        public Tensor Weight { get; }

        public Tensor DLosses { get; }

        public IndexTensor Targets { get; }

        /// <summary>What the weight's gradient is added to.</summary>
        public float[] Start { get; }

        public void Check(Tensor losses, Tensor dx, Tensor dWeight, double[] dLosses)
        {
            double[] x = Elements(X), weight = Elements(Weight), logits = new double[Rows * Classes];
            for (int n = 0; n < Rows; n++)
            {
                for (int v = 0; v < Classes; v++)
                    logits[n * Classes + v] = FiniteDifferences.Dot(x.AsSpan(n * Dim, Dim), weight.AsSpan(v * Dim, Dim));
            }

            int[] targets = Targets.ToArray();
            double[] dLogits = ReferenceDense.CrossEntropyBackward(logits, targets, Classes, dLosses);
            double[] expectedDx = new double[x.Length], expectedDWeight = Compare.ToDouble(Start);
            for (int n = 0; n < Rows; n++)
            {
                for (int v = 0; v < Classes; v++)
                {
                    for (int i = 0; i < Dim; i++)
                    {
                        expectedDx[n * Dim + i] += dLogits[n * Classes + v] * weight[v * Dim + i];
                        expectedDWeight[v * Dim + i] += dLogits[n * Classes + v] * x[n * Dim + i];
                    }
                }
            }

            Compare.Close("losses", losses, ReferenceDense.CrossEntropy(logits, targets, Classes).Losses, Tolerances.CrossEntropy.Forward);
            Compare.Close("dx", dx, expectedDx, Tolerances.Gemm.Gradient);
            Compare.Close("dWeight", dWeight, expectedDWeight, Tolerances.Gemm.Gradient);
        }
    }
}

public sealed class ManagedLinearCrossEntropyTests() : LinearCrossEntropyTests("managed");

public sealed class CpuLinearCrossEntropyTests() : LinearCrossEntropyTests("cpu");
