using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public abstract class CausalConvolutionTests(string backend) : DenseTests(backend)
{
    private static readonly (int B, int T, int D)[] s_shapes =
    [
        (1, 1, 1), (2, 1, 8), (1, 2, 7), (3, 3, 9), (2, 4, 15), (1, 5, 16), (2, 7, 17), (1, 31, 33), (2, 32, 31), (1, 33, 64), (3, 65, 65),
            (1, 130, 3), (2, 9, 129),
    ];

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void Forward_MatchesReference(bool withBias, bool withState)
    {
        foreach ((int b, int t, int d) in s_shapes)
        {
            var c = new Case(this, b, t, d, withBias, withState);
            Tensor y = Output([b, t, d]), nextState = Output([b, 3, d]);
            CausalConvolution.Forward(c.X, c.Weight, c.Bias, c.State, y, nextState);
            (double[] expected, double[] next) = c.Reference();
            Compare.Close($"y of {c.X.Shape}", y, expected, Tolerances.Convolution.Forward);
            Compare.Close($"nextState of {c.X.Shape}", nextState, next, 0);
            EndCase();
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Backward_MatchesReference(bool withState)
    {
        foreach ((int b, int t, int d) in s_shapes)
        {
            var c = new Case(this, b, t, d, true, withState);
            float[] weightBefore = c.Data.Normal(d * 4), biasBefore = c.Data.Normal(d);
            Tensor dx = Output([b, t, d]), dWeight = InOut([d, 4], weightBefore), dBias = InOut([d], biasBefore);
            CausalConvolution.Backward(c.X, c.Weight, c.State, c.Dy, dx, dWeight, dBias);

            double[] x = Elements(c.X), weight = Elements(c.Weight), dy = Elements(c.Dy);
            double[]? state = c.State is null ? null : Elements(c.State);
            (double[] expectedX, double[] expectedWeight, double[] expectedBias) = ReferenceDense.ConvolutionBackward(b, t, d, x, weight,
                state, dy);
            (_, double[] sizeWeight, double[] sizeBias) = ReferenceDense.ConvolutionBackward(
                b, t, d, Absolute(x), weight, state is null ? null : Absolute(state), Absolute(dy));
            Compare.Close($"dx of {c.X.Shape}", dx, expectedX, Tolerances.Convolution.Gradient);
            CloseAsSum(
                $"dWeight of {c.X.Shape}", dWeight, Sum(Compare.ToDouble(weightBefore), expectedWeight),
                Sum(Absolute(Compare.ToDouble(weightBefore)), sizeWeight), Tolerances.Convolution.Gradient);
            CloseAsSum(
                $"dBias of {c.X.Shape}", dBias, Sum(Compare.ToDouble(biasBefore), expectedBias),
                Sum(Absolute(Compare.ToDouble(biasBefore)), sizeBias), Tolerances.Convolution.Gradient);
            EndCase();
        }
    }

    [Fact]
    public void Gradients_DoNotDependOnWhichAreWanted()
    {
        var c = new Case(this, 2, 40, 37, true, true);
        Tensor dx = Output([2, 40, 37]), dWeight = Zeros([37, 4]), dBias = Zeros([37]);
        CausalConvolution.Backward(c.X, c.Weight, c.State, c.Dy, dx, dWeight, dBias);
        Tensor dxAlone = Output([2, 40, 37]), dWeightAlone = Zeros([37, 4]), dBiasAlone = Zeros([37]);
        CausalConvolution.Backward(c.X, c.Weight, c.State, c.Dy, dxAlone, null, null);
        CausalConvolution.Backward(c.X, c.Weight, c.State, c.Dy, null, dWeightAlone, null);
        CausalConvolution.Backward(c.X, c.Weight, c.State, c.Dy, null, null, dBiasAlone);
        Compare.SameBits("dx", dxAlone.ToArray(), dx.ToArray());
        Compare.SameBits("dWeight", dWeightAlone.ToArray(), dWeight.ToArray());
        Compare.SameBits("dBias", dBiasAlone.ToArray(), dBias.ToArray());
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(40)]
    public void NextState_MayBeState(int time)
    {
        var c = new Case(this, 2, time, 19, true, true);
        Tensor y = Output([2, time, 19]), nextState = Output([2, 3, 19]);
        CausalConvolution.Forward(c.X, c.Weight, c.Bias, c.State, y, nextState);

        Tensor yInPlace = Output([2, time, 19]), state = InOut([2, 3, 19], c.State!.ToArray());
        CausalConvolution.Forward(c.X, c.Weight, c.Bias, state, yInPlace, state);
        Compare.SameBits("y", yInPlace.ToArray(), y.ToArray());
        Compare.SameBits("state", state.ToArray(), nextState.ToArray());
    }

    [Fact]
    public void State_CarriesTheConvolutionOverAnyCut()
    {
        const int Time = 11, Width = 10;
        var c = new Case(this, 1, Time, Width, true, false);
        Tensor whole = Output([1, Time, Width]);
        CausalConvolution.Forward(c.X, c.Weight, c.Bias, null, whole, null);
        float[] x = c.X.ToArray();
        foreach (int[] cut in (int[][])[[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1], [2, 9], [3, 5, 3], [10, 1], [1, 2, 3, 5]])
        {
            Tensor state = InOut([1, 3, Width], new float[3 * Width]);
            var parts = new List<float>();
            foreach (int time in cut)
            {
                Tensor y = Output([1, time, Width]);
                CausalConvolution.Forward(
                    Input([1, time, Width], x.AsSpan(parts.Count, time * Width)), c.Weight, c.Bias, state, y, state);
                parts.AddRange(y.ToArray());
            }

            Compare.Close($"cut {string.Join('+', cut)}", parts.ToArray(), whole.ToArray(), Tolerances.Convolution.Forward);
        }
    }

    [Fact]
    public void Nan_ReachesThreeTokensFurtherInItsChannel()
    {
        float[] x = new TestData(1).Normal(2 * 12 * 19);
        x[(12 + 4) * 19 + 18] = float.NaN;
        Tensor y = Output([2, 12, 19]);
        CausalConvolution.Forward(Input([2, 12, 19], x), Input([19, 4], new TestData(2).Normal(76)), null, null, y, null);
        Assert.Equal(
            Enumerable.Range(0, 2 * 12 * 19).Select(i => i % 19 == 18 && i / 19 is >= 16 and <= 19),
            y.ToArray().Select(float.IsNaN));
    }

    [LargeFact]
    public void Threads_DoNotChangeBits()
    {
        SameBitsForAnyThreads(() =>
        {
            var c = new Case(this, 3, 101, 150, true, true);
            Tensor y = Output([3, 101, 150]), nextState = Output([3, 3, 150]), dx = Output([3, 101, 150]), dWeight = Zeros([150, 4]),
                dBias = Zeros([150]);
            CausalConvolution.Forward(c.X, c.Weight, c.Bias, c.State, y, nextState);
            CausalConvolution.Backward(c.X, c.Weight, c.State, c.Dy, dx, dWeight, dBias);
            return
            [
                ("y", y.ToArray()), ("nextState", nextState.ToArray()), ("dx", dx.ToArray()), ("dWeight", dWeight.ToArray()),
                    ("dBias", dBias.ToArray()),
            ];
        });
    }

    private sealed class Case
    {
        private readonly int _batch;
        private readonly int _time;
        private readonly int _width;

        public Case(CausalConvolutionTests tests, int batch, int time, int width, bool withBias, bool withState)
        {
            (_batch, _time, _width) = (batch, time, width);
            Data = new TestData((ulong)(batch * 1_000_000 + time * 1000 + width));
            X = tests.Input([batch, time, width], Data.Normal(batch * time * width));
            Weight = tests.Input([width, 4], Data.Normal(width * 4));
            Dy = tests.Input([batch, time, width], Data.Normal(batch * time * width));
            float[] bias = Data.Normal(width), state = Data.Normal(batch * 3 * width);
            Bias = withBias ? tests.Input([width], bias) : null;
            State = withState ? tests.Input([batch, 3, width], state) : null;
        }

        public TestData Data { get; }

        public Tensor X { get; }

        public Tensor Weight { get; }

        public Tensor Dy { get; }

        public Tensor? Bias { get; }

        public Tensor? State { get; }

        public (double[] Y, double[] NextState) Reference() => ReferenceDense.Convolution(
            _batch, _time, _width, Elements(X), Elements(Weight), Bias is null ? null : Elements(Bias),
            State is null ? null : Elements(State));
    }
}

public sealed class ManagedCausalConvolutionTests() : CausalConvolutionTests("managed");

public sealed class CpuCausalConvolutionTests() : CausalConvolutionTests("cpu");
