using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Gpu.Tests;

/// <summary>
/// Every kernel on ILGPU's CPU accelerator, where each thread of a group is one of the system's and an index out of range ends
/// the run. It is hundreds of times slower than plain C#, so shapes are tiny: a tile and a bit of everything. What is right is
/// what the managed backend gives, which the shared suites hold to the references.
/// </summary>
public sealed class IlgpuCpuTests : IDisposable
{
    private readonly Device _device = Device.Open("ilgpu-cpu"), _managed = Device.Open("managed");

    public void Dispose()
    {
        _device.Dispose();
        _managed.Dispose();
    }

    [Fact]
    public void Elementwise() => Agree(Tolerances.Activation.Gradient, r =>
    {
        foreach (Activation activation in Enum.GetValues<Activation>())
        {
            Tensor x = r.Normal(3, 19);
            Dense.ActivationForward(activation, x, r.Out($"{activation}", 3, 19));
            Dense.ActivationBackward(activation, x, r.Normal(3, 19), r.Out($"d {activation}", 3, 19));
        }

        Tensor sum = r.InOut("sum", 70);
        Dense.AddScaled(0.3f, r.Normal(70), sum);
        r.Backend.Scale(sum, 1.5f);
        Dense.Multiply(sum, r.Normal(70), r.Out("product", 70));
        r.Add("squares", (float)r.Backend.SumOfSquares(sum));
    });

    [Fact]
    public void Products() => Agree(Tolerances.Gemm.Gradient, r =>
    {
        foreach (Epilogue epilogue in Enum.GetValues<Epilogue>())
        {
            Dense.Gemm(new GemmArguments
            {
                A = r.Normal(20, 35), TransposeA = true, B = r.Normal(33, 20), TransposeB = true, C = r.Out($"{epilogue}", 35, 33), Bias = r.Normal(33),
                Epilogue = epilogue, PreActivation = epilogue == Epilogue.None ? null : r.InOut($"z {epilogue}", 35, 33), Residual = r.Normal(35, 33), ResidualScale = 0.5f,
            });
        }

        Dense.Gemm(new GemmArguments { A = r.Normal(3, 17), B = r.Normal(17, 5), C = r.InOut("rounded", 3, 5), Accumulate = true, Precision = GemmPrecision.BFloat16 });
        Dense.BatchedGemm(r.Normal(3, 4, 5), r.Normal(3, 4, 6), r.InOut("batch", 3, 5, 6), transposeA: true, accumulate: true);
        Dense.ColumnSum(r.Normal(67, 5), r.InOut("columns", 5));
    });

    [Fact]
    public void Layers() => Agree(Tolerances.Norm.Gradient, r =>
    {
        foreach (NormKind kind in Enum.GetValues<NormKind>())
        {
            bool gained = kind != NormKind.L2;
            Tensor x = r.Normal(3, 19);
            Tensor? gain = gained ? r.Normal(19) : null, bias = kind == NormKind.Layer ? r.Normal(19) : null;
            Dense.NormForward(kind, x, gain, bias, 1e-5f, r.Out($"{kind}", 3, 19));
            Dense.NormBackward(
                kind, x, gain, 1e-5f, r.Normal(3, 19), r.Out($"{kind} dx", 3, 19), gained ? r.InOut($"{kind} dGain", 19) : null, bias is null ? null : r.InOut($"{kind} dBias", 19));
        }

        Tensor input = r.Normal(2, 5, 3), weight = r.Normal(3, 4), state = r.InOut("state", 2, 3, 3);
        Dense.CausalConvolutionBackward(input, weight, state, r.Normal(2, 5, 3), r.Out("dx", 2, 5, 3), r.InOut("dWeight", 3, 4), r.InOut("dBias", 3));
        Dense.CausalConvolutionForward(input, weight, r.Normal(3), state, r.Out("y", 2, 5, 3), state);
    });

    [Fact]
    public void TokensAndLosses() => Agree(Tolerances.CrossEntropy.Gradient, r =>
    {
        IndexTensor tokens = r.Indices(7, 2, 0, 2, 2, 4, 0, 1);
        Dense.EmbeddingForward(tokens, r.Normal(5, 9), r.Out("rows", 7, 9));
        Dense.EmbeddingBackward(tokens, r.Normal(7, 9), r.InOut("dTable", 5, 9));

        Tensor logits = r.Normal(3, 21), logSums = r.Out("logSums", 3);
        IndexTensor targets = r.Indices(3, 20, -1, 0);
        Dense.CrossEntropyForward(logits, targets, r.Out("losses", 3), logSums);
        Dense.CrossEntropyBackward(logits, targets, logSums, r.Normal(3), r.Out("dLogits", 3, 21));
        Tensor x = r.Normal(3, 6), weight = r.Normal(21, 6);
        LinearCrossEntropy.WithGradient(x, weight, targets, 0.5f, r.Out("linear losses", 3), r.Out("dx", 3, 6), r.InOut("dWeight", 21, 6));
    });

    [Fact]
    public void CausalAttention() => Agree(Tolerances.Attention.Gradient, r =>
    {
        var inputs = new AttentionInputs { Q = r.Normal(1, 18, 2, 5), K = r.Normal(1, 20, 2, 5), V = r.Normal(1, 20, 2, 3) };
        var outputs = new AttentionOutputs { O = r.Out("o", 1, 18, 2, 3), LogSums = r.Out("logSums", 1, 18, 2) };
        Attention.Forward(inputs, new AttentionSettings(0.4f), outputs);
        Attention.Backward(inputs, new AttentionSettings(0.4f), outputs, r.Normal(1, 18, 2, 3), new AttentionGradients
        {
            Q = r.Out("dq", 1, 18, 2, 5), K = r.Out("dk", 1, 20, 2, 5), V = r.Out("dv", 1, 20, 2, 3),
        });
    });

    [Theory]
    [InlineData(ScanWrite.Given, ScanRead.After, 0)]
    [InlineData(ScanWrite.FrozenL2, ScanRead.Before, 3)]
    [InlineData(ScanWrite.FrozenL2, ScanRead.ChunkStart, 2)]
    public void Scans(ScanWrite write, ScanRead read, int phase) => Agree(2 * Tolerances.Scan.Gradient, r =>
    {
        const int T = 9, Dk = 3, Dv = 5;
        var settings = new ScanSettings(0.6f, read, write, 4) { Phase = phase };
        Tensor? theta = write == ScanWrite.Given ? null : r.Uniform(0.05f, 0.6f, 1, T, 2);
        var inputs = new ScanInputs
        {
            Q = r.Normal(1, T, 2, Dk), K = r.UnitRows(1, T, 2, Dk), U = r.Normal(1, T, 2, Dv), LogAlpha = r.Uniform(-0.3f, 0, 1, T, 2), Erase = r.Uniform(0, 0.5f, 1, T, 2),
            Mu = r.Uniform(0, 0.6f, 1, T, 2), Theta = theta, S0 = r.Normal(1, 2, Dk, Dv), P0 = r.Normal(1, 2, Dk, Dv), ChunkStart = phase > 0 ? r.Normal(1, 2, Dk, Dv) : null,
        };
        int chunks = settings.Chunks(T);
        var saved = new ScanSaved(r.Out("states", 1, 2, chunks, Dk, Dv), r.Out("momenta", 1, 2, chunks, Dk, Dv));
        Scan.Forward(inputs, settings, new ScanOutputs
        {
            O = r.Out("o", 1, T, 2, Dv), S = r.Out("s", 1, 2, Dk, Dv), P = r.Out("p", 1, 2, Dk, Dv), Saved = saved,
            ChunkStart = settings.HasMeaningfulChunk ? r.Out("chunk start", 1, 2, Dk, Dv) : null,
        });
        var upstream = new ScanOutputGradients(r.Normal(1, T, 2, Dv), r.Normal(1, 2, Dk, Dv), r.Normal(1, 2, Dk, Dv), settings.HasMeaningfulChunk ? r.Normal(1, 2, Dk, Dv) : null);
        Scan.Backward(inputs, settings, saved, upstream, new ScanGradients
        {
            Q = r.Out("dq", 1, T, 2, Dk), K = r.Out("dk", 1, T, 2, Dk), U = r.Out("du", 1, T, 2, Dv), LogAlpha = r.Out("dlog_alpha", 1, T, 2), Erase = r.Out("derase", 1, T, 2),
            Mu = r.Out("dmu", 1, T, 2), Theta = theta is null ? null : r.Out("dtheta", 1, T, 2), S0 = r.Out("ds0", 1, 2, Dk, Dv), P0 = r.Out("dp0", 1, 2, Dk, Dv),
            ChunkStart = phase > 0 ? r.Out("dchunk_start", 1, 2, Dk, Dv) : null,
        });
    });

    [Theory]
    [InlineData(MemoryObjective.L2, ScanRead.Before, 0)]
    [InlineData(MemoryObjective.DotProduct, ScanRead.ChunkStart, 1)]
    public void SelfModifyingScans(MemoryObjective objective, ScanRead read, int phase) => Agree(2 * Tolerances.SelfModifying.Gradient, r =>
    {
        const int T = 5, D = 3, Columns = 3 * D + 2;
        var settings = new SelfModifyingSettings(3, objective, read, 0.5f, -1, 1, NormalizeValues: true) { Phase = phase };
        var inputs = new SelfModifyingInputs
        {
            X = r.Normal(1, T, 1, D), Q = r.UnitRows(1, T, 1, D), S0 = r.Normal(1, 1, D, Columns), ChunkStart = phase > 0 ? r.Normal(1, 1, D, Columns) : null,
        };
        Tensor states = r.Out("states", 1, 1, settings.Chunks(T), D, Columns);
        SelfModifying.Forward(inputs, settings, new SelfModifyingOutputs
        {
            O = r.Out("o", 1, T, 1, D), S = r.Out("s", 1, 1, D, Columns), ChunkStates = states, ChunkStart = r.Out("chunk start", 1, 1, D, Columns),
        });
        var upstream = new SelfModifyingOutputGradients(r.Normal(1, T, 1, D), r.Normal(1, 1, D, Columns), r.Normal(1, 1, D, Columns));
        SelfModifying.Backward(inputs, settings, states, upstream, new SelfModifyingGradients
        {
            X = r.Out("dx", 1, T, 1, D), Q = r.Out("dq", 1, T, 1, D), S0 = r.Out("ds0", 1, 1, D, Columns), ChunkStart = phase > 0 ? r.Out("dchunk_start", 1, 1, D, Columns) : null,
        });
    });

    [Theory]
    [InlineData(MemoryObjective.L2, ScanRead.After, 0)]
    [InlineData(MemoryObjective.L2, ScanRead.Before, 2)]
    [InlineData(MemoryObjective.DotProduct, ScanRead.ChunkStart, 1)]
    public void DeepMemories(MemoryObjective objective, ScanRead read, int phase) => Agree(2 * Tolerances.DeepMemory.Gradient, r =>
    {
        const int T = 5, D = 3, N = 9;
        var settings = new DeepMemorySettings(3, objective, read, Residual: phase != 1) { Phase = phase };
        var inputs = new DeepMemoryInputs
        {
            Q = r.UnitRows(1, T, 1, D), K = r.UnitRows(1, T, 1, D), V = r.Normal(1, T, 1, D), LogAlpha = r.Uniform(-0.3f, 0, 1, T, 1), Theta = r.Uniform(0.02f, 0.1f, 1, T, 1),
            Erase = r.Uniform(0, 0.5f, 1, T, 1), Mu = r.Uniform(0, 0.6f, 1, T, 1), W1 = r.Normal(1, 1, N, D), W2 = r.Normal(1, 1, D, N), P1 = r.Normal(1, 1, N, D), P2 = r.Normal(1, 1, D, N),
            ChunkStart1 = phase > 0 ? r.Normal(1, 1, N, D) : null, ChunkStart2 = phase > 0 ? r.Normal(1, 1, D, N) : null,
        };
        int chunks = settings.Chunks(T);
        var saved = new DeepMemorySaved(
            r.Out("states 1", 1, 1, chunks, N, D), r.Out("states 2", 1, 1, chunks, D, N), r.Out("momenta 1", 1, 1, chunks, N, D), r.Out("momenta 2", 1, 1, chunks, D, N));
        DeepMemory.Forward(inputs, settings, new DeepMemoryOutputs
        {
            O = r.Out("o", 1, T, 1, D), W1 = r.Out("w1", 1, 1, N, D), W2 = r.Out("w2", 1, 1, D, N), P1 = r.Out("p1", 1, 1, N, D), P2 = r.Out("p2", 1, 1, D, N), Saved = saved,
            ChunkStart1 = r.Out("chunk start 1", 1, 1, N, D), ChunkStart2 = r.Out("chunk start 2", 1, 1, D, N),
        });
        var upstream = new DeepMemoryOutputGradients
        {
            O = r.Normal(1, T, 1, D), W1 = r.Normal(1, 1, N, D), W2 = r.Normal(1, 1, D, N), P1 = r.Normal(1, 1, N, D), P2 = r.Normal(1, 1, D, N),
            ChunkStart1 = r.Normal(1, 1, N, D), ChunkStart2 = r.Normal(1, 1, D, N),
        };
        DeepMemory.Backward(inputs, settings, saved, upstream, new DeepMemoryGradients
        {
            Q = r.Out("dq", 1, T, 1, D), K = r.Out("dk", 1, T, 1, D), V = r.Out("dv", 1, T, 1, D), LogAlpha = r.Out("dlog_alpha", 1, T, 1), Theta = r.Out("dtheta", 1, T, 1),
            Erase = r.Out("derase", 1, T, 1), Mu = r.Out("dmu", 1, T, 1), W1 = r.Out("dw1", 1, 1, N, D), W2 = r.Out("dw2", 1, 1, D, N), P1 = r.Out("dp1", 1, 1, N, D), P2 = r.Out("dp2", 1, 1, D, N),
            ChunkStart1 = phase > 0 ? r.Out("dchunk_start1", 1, 1, N, D) : null, ChunkStart2 = phase > 0 ? r.Out("dchunk_start2", 1, 1, D, N) : null,
        });
    });

    // A tile and a rest of columns; a chunk that began before, a whole one and a part.
    [Theory]
    [InlineData(ScanWrite.Given, ScanRead.After, 0)]
    [InlineData(ScanWrite.FrozenL2, ScanRead.Before, 3)]
    [InlineData(ScanWrite.FrozenL2, ScanRead.ChunkStart, 2)]
    public void DecodedScans(ScanWrite write, ScanRead read, int phase) => Agree(2 * Tolerances.Scan.Forward, r =>
    {
        const int T = 8, Dk = 3, Dv = 9;
        var settings = new ScanSettings(0.6f, read, write, 4) { Phase = phase };
        Scan.Forward(new ScanInputs
        {
            Q = r.Normal(1, T, 2, Dk), K = r.UnitRows(1, T, 2, Dk), U = r.Normal(1, T, 2, Dv), LogAlpha = r.Uniform(-0.3f, 0, 1, T, 2), Erase = r.Uniform(0, 0.5f, 1, T, 2),
            Mu = r.Uniform(0, 0.6f, 1, T, 2), Theta = write == ScanWrite.Given ? null : r.Uniform(0.05f, 0.6f, 1, T, 2), S0 = r.Normal(1, 2, Dk, Dv),
            ChunkStart = phase > 0 ? r.Normal(1, 2, Dk, Dv) : null,
        }, settings, new ScanOutputs
        {
            O = r.Out("o", 1, T, 2, Dv), S = r.Out("s", 1, 2, Dk, Dv), P = r.Out("p", 1, 2, Dk, Dv), ChunkStart = settings.HasMeaningfulChunk ? r.Out("chunk start", 1, 2, Dk, Dv) : null,
        });
    });

    // Longer keys than shared memory has room for: rows that stay in the state's own memory.
    [Fact]
    public void DecodedScans_OfLongKeys() => Agree(2 * Tolerances.Scan.Forward, r => Scan.Forward(
        new ScanInputs { Q = r.UnitRows(1, 2, 1, 530), K = r.UnitRows(1, 2, 1, 530), U = r.Normal(1, 2, 1, 8), Erase = r.Uniform(0, 0.5f, 1, 2, 1), S0 = r.Normal(1, 1, 530, 8) },
        new ScanSettings(1, ScanRead.After, ScanWrite.Given, 64),
        new ScanOutputs { O = r.Out("o", 1, 2, 1, 8), S = r.Out("s", 1, 1, 530, 8) }));

    [Theory]
    [InlineData(MemoryObjective.L2, ScanRead.Before, 0)]
    [InlineData(MemoryObjective.DotProduct, ScanRead.ChunkStart, 1)]
    public void DecodedSelfModifyingScans(MemoryObjective objective, ScanRead read, int phase) => Agree(2 * Tolerances.SelfModifying.Forward, r =>
    {
        const int T = 5, D = 3, Columns = 3 * D + 2;
        var settings = new SelfModifyingSettings(3, objective, read, 0.5f, -1, 1, NormalizeValues: true) { Phase = phase };
        SelfModifying.Forward(new SelfModifyingInputs
        {
            X = r.Normal(1, T, 2, D), Q = r.UnitRows(1, T, 2, D), S0 = r.Normal(1, 2, D, Columns), ChunkStart = phase > 0 ? r.Normal(1, 2, D, Columns) : null,
        }, settings, new SelfModifyingOutputs { O = r.Out("o", 1, T, 2, D), S = r.Out("s", 1, 2, D, Columns), ChunkStart = r.Out("chunk start", 1, 2, D, Columns) });
    });

    [Fact]
    public void Commits() => Agree(Tolerances.Optimizer.Forward, r =>
    {
        var adam = new AdamSettings(1e-2f, 0.9, 0.999, 1e-8f, 0.1f, true, 3, 0.5f) { ClearGradient = true };
        Tensor w = r.InOut("w", 40), g = r.InOut("g", 40), m = r.InOut("m", 40), v = r.Uniform(0.1f, 1, 40);
        Dense.AdamCommit([new AdamTensors(w, g, m, v)], [adam], new CommitChange[1]);
        Dense.GemmAdamCommit(r.Normal(5, 7), r.Normal(5, 6), null, r.InOut("w2", 7, 6), r.InOut("m2", 7, 6), r.Uniform(0.1f, 1, 7, 6), adam with { ClearGradient = false });
        Dense.MomentCommit(new MomentTensors(w, r.Normal(40), m, v), new MomentSettings { LearningRate = 0.1f, Keep1 = 0.9f, Write1 = 0.1f, Keep2 = 0.9f, Write2 = 0.1f, ReadMoment = 1, Epsilon = 1e-3f });
    });

    [Fact]
    public void ADisposedDevice_LeavesItsTensorsToBeDisposed()
    {
        Device device = Device.Open("ilgpu-cpu");
        Tensor tensor = device.Full([10], 3);
        device.Dispose();
        tensor.Dispose();
        using var again = Device.Open("ilgpu-cpu");
        using Tensor other = again.Full([10], 4);
        Assert.All(other.ToArray(), e => Assert.Equal(4, e));
    }

    /// <summary>Runs on both devices with the same data and compares every result.</summary>
    private void Agree(double tolerance, Action<Run> body)
    {
        using Run actual = new(_device), expected = new(_managed);
        body(actual);
        body(expected);
        Assert.Equal(expected.Results.Count, actual.Results.Count);
        foreach ((string name, Func<float[]> elements) in expected.Results)
            Compare.Close(name, actual.Results[name](), Compare.ToDouble(elements()), tolerance);
    }

    /// <summary>Seeded tensors of one device, and the results among them.</summary>
    private sealed class Run(Device device) : IDisposable
    {
        private readonly TestData _data = new(17);
        private readonly List<IDisposable> _tensors = [];

        public Backend Backend => device.Backend;

        public Dictionary<string, Func<float[]>> Results { get; } = [];

        public Tensor Normal(params int[] shape) => From(shape, _data.Normal(new Shape(shape)));

        public Tensor UnitRows(params int[] shape) => From(shape, _data.UnitRows(new Shape(shape)));

        public Tensor Uniform(float low, float high, params int[] shape) => From(shape, _data.Uniform(new Shape(shape), low, high));

        public Tensor Out(string name, params int[] shape)
        {
            Tensor tensor = Track(device.Full(new Shape(shape), float.NaN));
            Results.Add(name, tensor.ToArray);
            return tensor;
        }

        public Tensor InOut(string name, params int[] shape)
        {
            Tensor tensor = Normal(shape);
            Results.Add(name, tensor.ToArray);
            return tensor;
        }

        public void Add(string name, float value) => Results.Add(name, () => [value]);

        public IndexTensor Indices(int count, params int[] elements) => Track(device.FromIndices([count], elements));

        public void Dispose() => _tensors.ForEach(t => t.Dispose());

        private Tensor From(int[] shape, float[] elements) => Track(device.From(new Shape(shape), elements));

        private T Track<T>(T tensor)
            where T : IDisposable
        {
            _tensors.Add(tensor);
            return tensor;
        }
    }
}
