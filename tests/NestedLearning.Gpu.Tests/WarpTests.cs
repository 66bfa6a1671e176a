using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Gpu.Tests;

/// <summary>
/// Sums of a group within warps, as CUDA has them, on ILGPU's CPU accelerator with warps of CUDA's length: beside the portable
/// sums in every operation that has one.
/// </summary>
[Collection(typeof(IlgpuCpuCollection))]
public sealed class WarpTests : IDisposable
{
    private const int WarpThreads = 32, Warps = 2;

    private readonly Device _warps = new(new IlgpuCpuBackendProvider(WarpThreads, Warps).Create()), _portable = Device.Open("ilgpu-cpu");

    public void Dispose()
    {
        _warps.Dispose();
        _portable.Dispose();
    }

    // One element a thread, whose squares are exact in double: every rounding is the sum's, and so its order shows in the bits.
    [Fact]
    public void Sum_AddsWithinWarps_ThenTheirSumsInOrder()
    {
        float[] x = [.. Enumerable.Range(1, WarpThreads * Warps).Select(i => 1f / i)];
        double[] squares = Array.ConvertAll(x, e => (double)e * e);
        double ofWarps = Halves(squares[..WarpThreads]) + Halves(squares[WarpThreads..]);
        Assert.NotEqual(Halves(squares), ofWarps);
        Assert.NotEqual(squares.Sum(), ofWarps);
        using Tensor tensor = _warps.From([x.Length], x);
        for (int run = 0; run < 3; run++)
            Assert.Equal(ofWarps, _warps.Backend.SumOfSquares(tensor));

        // The upper half onto the lower, until one is left.
        static double Halves(double[] parts)
        {
            while (parts.Length > 1)
                parts = [.. parts[..(parts.Length / 2)].Zip(parts[(parts.Length / 2)..], (a, b) => a + b)];
            return parts[0];
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(33)]
    [InlineData(200)]
    public void Sums_OfAnyCount_AreThePortableOnes(int count)
    {
        // Whole numbers: no order of them rounds.
        float[] x = Array.ConvertAll(new TestData(2).Below(count, 1000), e => (float)e);
        using Tensor one = _warps.From([count], x), other = _portable.From([count], x);
        double expected = x.Sum(e => (double)e * e);
        Assert.Equal(expected, _warps.Backend.SumOfSquares(one));
        Assert.Equal(expected, _portable.Backend.SumOfSquares(other));
    }

    [Fact]
    public void Nan_ComesThroughSumsAndMaxima()
    {
        foreach (int at in (ReadOnlySpan<int>)[31, 32])
        {
            float[] logits = new TestData(3).Normal(140);
            logits[70 + at] = float.NaN;
            using Tensor x = _warps.From([2, 70], logits), losses = _warps.Full([2], 0), logSums = _warps.Full([2], 0),
                y = _warps.Full([2, 70], 0);
            using IndexTensor targets = _warps.FromIndices([2], [1, 2]);
            Operations.CrossEntropy.Forward(x, targets, losses, logSums);
            Assert.Equal([false, true], logSums.ToArray().Select(float.IsNaN));
            Norm.Forward(NormKind.Rms, x, null, null, 1e-6f, y);
            Assert.Equal(Enumerable.Range(0, 140).Select(i => i >= 70), y.ToArray().Select(float.IsNaN));
        }
    }

    [Fact]
    public void Norms() => Agree(Tolerances.Norm.Gradient, r =>
    {
        foreach (NormKind kind in Enum.GetValues<NormKind>())
        {
            Tensor x = r.Normal(2, 70), gain = r.Normal(70);
            Norm.Forward(kind, x, kind != NormKind.L2 ? gain : null, null, 0.1f, r.Out($"{kind}", 2, 70));
            Norm.Backward(kind, x, kind != NormKind.L2 ? gain : null, 0.1f, r.Normal(2, 70), r.Out($"d {kind}", 2, 70), null, null);
        }
    });

    [Fact]
    public void CrossEntropy() => Agree(Tolerances.CrossEntropy.Gradient, r =>
    {
        foreach (int classes in (ReadOnlySpan<int>)[33, 150])
        {
            Tensor logits = r.Normal(3, classes);
            IndexTensor targets = r.Indices(3, classes - 1, -1, 0);
            Operations.CrossEntropy.Forward(logits, targets, r.Out($"losses {classes}", 3), r.Out($"log sums {classes}", 3));
            Operations.CrossEntropy.WithGradient(logits, targets, 0.5f, r.Out($"losses with gradient {classes}", 3),
                r.Out($"dLogits {classes}", 3, classes));
        }
    });

    [Fact]
    public void Commits() => Agree(Tolerances.Optimizer.Forward, r =>
    {
        var adam = new AdamSettings(1e-2f, 0.9, 0.999, 1e-8f, 0.1f, true, 3, 0.5f);
        foreach (int count in (ReadOnlySpan<int>)[33, 200])
        {
            var changes = new CommitChange[2];
            AdamCommit.Apply(
                [.. new[] { count, 7 }.Select(n =>
                new AdamTensors(r.InOut($"w {count} {n}", n), r.Normal(n), r.Normal(n), r.Uniform(0.1f, 1, n)))], [adam, adam], changes);
            var moment = new CommitChange[1];
            MomentCommit.Apply([new MomentTensors(r.InOut($"moment's w {count}", count), r.Normal(count))],
                [new MomentSettings { LearningRate = 0.1f, ReadGradient = 1 }], moment);
            foreach (CommitChange change in (ReadOnlySpan<CommitChange>)[.. changes, .. moment])
            {
                r.Add(change.Change);
                r.Add(change.Value);
            }
        }
    });

    // The scan's backward pass multiplies states; few tokens of self-modifying memories have lengths to sum.
    [Fact]
    public void Memories() => Agree(2 * Tolerances.DeepMemory.Gradient, r =>
    {
        const int T = 3, D = 9, Hidden = 5, Columns = 3 * D + 2;
        var scan = new ScanInputs
        {
            Q = r.UnitRows(1, T, 1, D), K = r.UnitRows(1, T, 1, D), U = r.Normal(1, T, 1, D), LogAlpha = r.Uniform(-0.3f, 0, 1, T, 1),
            S0 = r.Normal(1, 1, D, D),
        };
        var settings = new ScanSettings(0.6f, ScanRead.After, ScanWrite.Given, 4);
        var saved = new ScanSaved(r.Out("states", 1, 1, 1, D, D), null);
        Scan.Forward(scan, settings, new ScanOutputs { O = r.Out("o", 1, T, 1, D), S = r.Out("s", 1, 1, D, D), Saved = saved });
        Scan.Backward(scan, settings, saved, new ScanOutputGradients(r.Normal(1, T, 1, D), r.Normal(1, 1, D, D), null), new ScanGradients
        {
            LogAlpha = r.Out("dlog_alpha", 1, T, 1),
        });

        SelfModifying.Forward(
            new SelfModifyingInputs { X = r.Normal(1, T, 1, D), Q = r.UnitRows(1, T, 1, D), S0 = r.Normal(1, 1, D, Columns) },
            new SelfModifyingSettings(8, MemoryObjective.L2, ScanRead.After, 0.3f, -1, 1, NormalizeValues: true),
            new SelfModifyingOutputs { O = r.Out("self-modifying o", 1, T, 1, D), S = r.Out("self-modifying s", 1, 1, D, Columns) });

        var deep = new DeepMemoryInputs
        {
            Q = r.UnitRows(1, T, 1, D), K = r.UnitRows(1, T, 1, D), V = r.Normal(1, T, 1, D), Theta = r.Uniform(0.02f, 0.1f, 1, T, 1),
            W1 = r.Normal(1, 1, Hidden, D), W2 = r.Normal(1, 1, D, Hidden),
        };
        var deepSettings = new DeepMemorySettings(4, MemoryObjective.L2, ScanRead.After);
        var deepSaved = new DeepMemorySaved(r.Out("states 1", 1, 1, 1, Hidden, D), r.Out("states 2", 1, 1, 1, D, Hidden), null, null);
        DeepMemory.Forward(deep, deepSettings, new DeepMemoryOutputs
        {
            O = r.Out("deep o", 1, T, 1, D), W1 = r.Out("w1", 1, 1, Hidden, D), W2 = r.Out("w2", 1, 1, D, Hidden), Saved = deepSaved,
        });
        DeepMemory.Backward(deep, deepSettings, deepSaved, new DeepMemoryOutputGradients { O = r.Normal(1, T, 1, D) },
            new DeepMemoryGradients
            {
                K = r.Out("dk", 1, T, 1, D), V = r.Out("dv", 1, T, 1, D), Theta = r.Out("dtheta", 1, T, 1),
                W1 = r.Out("dw1", 1, 1, Hidden, D), W2 = r.Out("dw2", 1, 1, D, Hidden),
            });
    });

    // The same data on both devices.
    private void Agree(double tolerance, Action<Run> body)
    {
        using Run actual = new(_warps), expected = new(_portable);
        body(actual);
        body(expected);
        Assert.NotEmpty(expected.Results);
        Assert.Equal(expected.Results.Count, actual.Results.Count);
        for (int i = 0; i < expected.Results.Count; i++)
        {
            (string name, Func<float[]> elements) = expected.Results[i];
            Compare.Close(name, actual.Results[i].Elements(), Compare.ToDouble(elements()), tolerance);
        }

        Assert.Equal(expected.Numbers.Count, actual.Numbers.Count);
        for (int i = 0; i < expected.Numbers.Count; i++)
            Assert.Equal(expected.Numbers[i], actual.Numbers[i], tolerance * Math.Abs(expected.Numbers[i]));
    }

    /// <summary>Seeded tensors of one device, and the results among them.</summary>
    private sealed class Run(Device device) : IDisposable
    {
        private readonly TestData _data = new(17);
        private readonly List<IDisposable> _tensors = [];

        public List<(string Name, Func<float[]> Elements)> Results { get; } = [];

        public List<double> Numbers { get; } = [];

        public Tensor Normal(params int[] shape) => From(shape, _data.Normal(new Shape(shape)));

        public Tensor UnitRows(params int[] shape) => From(shape, _data.UnitRows(new Shape(shape)));

        public Tensor Uniform(float low, float high, params int[] shape) => From(shape, _data.Uniform(new Shape(shape), low, high));

        public Tensor Out(string name, params int[] shape) => Result(name, Track(device.Full(new Shape(shape), float.NaN)));

        public Tensor InOut(string name, params int[] shape) => Result(name, Normal(shape));

        public void Add(double number) => Numbers.Add(number);

        public IndexTensor Indices(int count, params int[] elements) => Track(device.FromIndices([count], elements));

        public void Dispose() => _tensors.ForEach(t => t.Dispose());

        private Tensor Result(string name, Tensor tensor)
        {
            Results.Add((name, tensor.ToArray));
            return tensor;
        }

        private Tensor From(int[] shape, float[] elements) => Track(device.From(new Shape(shape), elements));

        private T Track<T>(T tensor)
            where T : IDisposable
        {
            _tensors.Add(tensor);
            return tensor;
        }
    }
}
