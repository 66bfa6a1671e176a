using System.Reflection;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>
/// The one rule of subnormal numbers (<see cref="Tolerances.LeastNormal"/>): no operation makes one, whatever decays or saturates
/// ends at zero, and an input that is one counts as zero but for less than the least normal number.
/// </summary>
public abstract class SubnormalTests(string backend) : DenseTests(backend)
{
    // What moves, makes or holds memory computes nothing.
    private static readonly string[] s_copies = ["Allocate", "Upload", "Download", "Copy", "Fill", "Dispose"];

    /// <summary>Every operation of the seam by its name there.</summary>
    public static TheoryData<string> Operations() => [.. s_operations.Keys];

    [Fact]
    public void Operations_AreTheSeams()
    {
        IEnumerable<string> seam = typeof(Backend)
            .GetMethods(BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly)
            .Where(m => m.IsAbstract && !m.IsSpecialName && !s_copies.Contains(m.Name)).Select(m => m.Name);
        Assert.Equal(seam.Distinct().Order(StringComparer.Ordinal), s_operations.Keys.Order(StringComparer.Ordinal));
    }

    [Theory]
    [MemberData(nameof(Operations))]
    public void SubnormalInputs_CountAsZeros(string operation)
    {
        Run subnormal = new(this, subnormal: true), zero = new(this, subnormal: false);
        s_operations[operation](subnormal);
        s_operations[operation](zero);
        Assert.NotEmpty(zero.Results);
        foreach (((string name, Func<float[]> actual), (_, Func<float[]> expected)) in subnormal.Results.Zip(zero.Results))
        {
            float[] elements = actual();
            Compare.NoSubnormals(name, elements);
            Compare.Within(name, elements, expected(), Tolerances.LeastNormal);
        }
    }

    [Theory]
    [InlineData(1, "")]
    [InlineData(1, "emt")]
    [InlineData(7, "")]
    [InlineData(7, "m")]
    [InlineData(20, "emt")]
    public void DecayingMemory_EndsAtZero(int segment, string given)
    {
        var settings = new ScanSettings(1, ScanRead.After,
            given.Contains('t', StringComparison.Ordinal) ? ScanWrite.Scaled : ScanWrite.Given, 16);
        Shape tokens = [1, segment, 2, 9], gates = [1, segment, 2], state = [1, 2, 9, 9];
        var data = new TestData(3);
        Tensor? s = From(state, data.Normal(state)),
            p = given.Contains('m', StringComparison.Ordinal) ? From(state, data.Normal(state)) : null;
        for (int token = 0; token < 140; token += segment)
        {
            var inputs = new ScanInputs
            {
                Q = From(tokens, data.Normal(tokens)),
                K = From(tokens, data.UnitRows(tokens)),
                U = Zeros(tokens),
                LogAlpha = From(gates, data.Uniform(gates, -1.6f, -0.8f)),
                Erase = given.Contains('e', StringComparison.Ordinal) ? From(gates, data.Uniform(gates, 0, 0.5f)) : null,
                Mu = p is null ? null : From(gates, data.Uniform(gates, 0.1f, 0.3f)),
                Theta = settings.Write == ScanWrite.Given ? null : From(gates, data.Uniform(gates, 0, 1)),
                S0 = s,
                P0 = p,
            };
            Tensor? states = segment == 1 ? null : Unwritten(Scan.SavedShape(inputs, settings)),
                momenta = states is null || p is null ? null : Unwritten(states.Shape);
            var outputs = new ScanOutputs
            {
                O = Unwritten(tokens), S = Unwritten(state), P = p is null ? null : Unwritten(state),
                Saved = new ScanSaved(states, momenta),
            };
            Scan.Forward(inputs, settings, outputs);
            Count(("o", outputs.O), ("s", outputs.S), ("p", outputs.P), ("states", states), ("momenta", momenta));
            if (states is not null)
                CountBackward(inputs, settings, outputs.Saved, data);
            (s, p) = (outputs.S, outputs.P);
        }

        Assert.All(s!.ToArray(), e => Assert.Equal(0, e));
        Assert.All(p?.ToArray() ?? [], e => Assert.Equal(0, e));
    }

    // Of a memory that decays, gradients decay too, towards its start.
    private void CountBackward(ScanInputs inputs, ScanSettings settings, ScanSaved saved, TestData data)
    {
        Tensor Gradient(Tensor like) => Unwritten(like.Shape);
        var gradients = new ScanGradients
        {
            Q = Gradient(inputs.Q),
            K = Gradient(inputs.K),
            U = Gradient(inputs.U),
            LogAlpha = Gradient(inputs.LogAlpha!),
            Erase = inputs.Erase is null ? null : Gradient(inputs.Erase),
            Mu = inputs.Mu is null ? null : Gradient(inputs.Mu),
            Theta = inputs.Theta is null ? null : Gradient(inputs.Theta),
            S0 = Gradient(inputs.S0!),
            P0 = inputs.P0 is null ? null : Gradient(inputs.P0),
        };
        Tensor dO = From(inputs.U.Shape, data.Normal(inputs.U.Shape, 1e-30f));
        Scan.Backward(inputs, settings, saved, new ScanOutputGradients(dO, null, null), gradients);
        Count(
            ("dq", gradients.Q), ("dk", gradients.K), ("du", gradients.U), ("dlog_alpha", gradients.LogAlpha), ("derase", gradients.Erase),
            ("dmu", gradients.Mu),
            ("dtheta", gradients.Theta), ("ds0", gradients.S0), ("dp0", gradients.P0));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(10)]
    public void SelfModifyingMemories_ThatDecay_EndAtZero(int segment)
    {
        // α = sigmoid(−6) and less, so that a few steps pass all subnormal numbers, 2⁻¹²⁶ to 2⁻¹⁴⁹; η of softplus(−100).
        var settings = new SelfModifyingSettings(8, MemoryObjective.L2, ScanRead.Before, 0.1f, -100, -6);
        Shape tokens = [1, segment, 1, 5], state = [1, 1, 5, SelfModifyingSettings.StateColumns(5)];
        var data = new TestData(4);
        Tensor s = From(state, data.Normal(state, 0.1f));
        for (int token = 0; token < 20; token += segment)
        {
            var inputs = new SelfModifyingInputs
            {
                X = From(tokens, data.Normal(tokens, 0.3f)), Q = From(tokens, data.UnitRows(tokens)), S0 = s,
            };
            var outputs = new SelfModifyingOutputs
            {
                O = Unwritten(tokens), S = Unwritten(state), ChunkStates = Unwritten(SelfModifying.SavedShape(inputs, settings)),
            };
            SelfModifying.Forward(inputs, settings, outputs);
            var gradients = new SelfModifyingGradients { X = Unwritten(tokens), Q = Unwritten(tokens), S0 = Unwritten(state) };
            SelfModifying.Backward(inputs, settings, outputs.ChunkStates,
                new SelfModifyingOutputGradients(From(tokens, data.Normal(tokens, 1e-30f))), gradients);
            Count(("o", outputs.O), ("s", outputs.S), ("states", outputs.ChunkStates), ("dx", gradients.X), ("dq", gradients.Q),
                ("ds0", gradients.S0));
            s = outputs.S;
        }

        Assert.All(s.ToArray(), e => Assert.Equal(0, e));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(10)]
    public void DeepMemory_ThatDecays_EndsAtZero(int segment)
    {
        var settings = new DeepMemorySettings(8, MemoryObjective.L2, ScanRead.After);
        Shape tokens = [1, segment, 1, 5], gates = [1, segment, 1], shape1 = [1, 1, 6, 5], shape2 = [1, 1, 5, 6];
        var data = new TestData(5);
        Tensor w1 = From(shape1, data.Normal(shape1)), w2 = From(shape2, data.Normal(shape2)), p1 = From(shape1, data.Normal(shape1)),
            p2 = From(shape2, data.Normal(shape2));
        for (int token = 0; token < 60; token += segment)
        {
            var inputs = new DeepMemoryInputs
            {
                Q = From(tokens, data.Normal(tokens)),
                K = From(tokens, data.UnitRows(tokens)),
                V = From(tokens, data.Normal(tokens)),
                LogAlpha = From(gates, data.Uniform(gates, -6.6f, -4.2f)),
                Theta = Zeros(gates),
                Erase = From(gates, data.Uniform(gates, 0, 0.5f)),
                Mu = From(gates, data.Uniform(gates, 0.005f, 0.01f)),
                W1 = w1,
                W2 = w2,
                P1 = p1,
                P2 = p2,
            };
            var saved = new DeepMemorySaved(
                Unwritten(DeepMemory.SavedShape1(inputs, settings)), Unwritten(DeepMemory.SavedShape2(inputs, settings)),
                Unwritten(DeepMemory.SavedShape1(inputs, settings)), Unwritten(DeepMemory.SavedShape2(inputs, settings)));
            var outputs = new DeepMemoryOutputs
            {
                O = Unwritten(tokens), W1 = Unwritten(shape1), W2 = Unwritten(shape2), P1 = Unwritten(shape1), P2 = Unwritten(shape2),
                Saved = saved,
            };
            DeepMemory.Forward(inputs, settings, outputs);
            var gradients = new DeepMemoryGradients
            {
                Q = Unwritten(tokens), K = Unwritten(tokens), V = Unwritten(tokens), Theta = Unwritten(gates), W1 = Unwritten(shape1),
                W2 = Unwritten(shape2), P1 = Unwritten(shape1), P2 = Unwritten(shape2),
            };
            DeepMemory.Backward(inputs, settings, saved, new DeepMemoryOutputGradients { O = From(tokens, data.Normal(tokens, 1e-30f)) },
                gradients);
            Count(
                ("o", outputs.O), ("w1", outputs.W1), ("w2", outputs.W2), ("p1", outputs.P1), ("p2", outputs.P2), ("saved w1", saved.W1),
                ("saved p1", saved.P1),
                ("dq", gradients.Q), ("dk", gradients.K), ("dv", gradients.V), ("dtheta", gradients.Theta), ("dw1", gradients.W1),
                ("dw2", gradients.W2),
                ("dp1", gradients.P1), ("dp2", gradients.P2));
            (w1, w2, p1, p2) = (outputs.W1, outputs.W2, outputs.P1!, outputs.P2!);
        }

        Assert.All([.. w1.ToArray(), .. w2.ToArray(), .. p1.ToArray(), .. p2.ToArray()], e => Assert.Equal(0, e));
    }

    [Theory]
    [InlineData(MomentPrecision.Float32)]
    [InlineData(MomentPrecision.BFloat16)]
    public void AdamMoments_WithoutGradient_EndAtZero(MomentPrecision moments)
    {
        const int Count = 70;
        var data = new TestData(6);
        bool half = moments == MomentPrecision.BFloat16;
        Tensor w = From([Count], data.Normal(Count)), g = Zeros([Count]), m = Moments(data.Normal(Count)),
            v = Moments(data.Uniform(Count, 0, 1));
        for (int step = 1; step <= 80; step++)
        {
            // β of 0.25, so that 80 steps are enough.
            AdamCommit.Apply(w, g, m, v, new AdamSettings(1e-3f, 0.25, 0.25, 1e-8f, 0, false, step, 1) { Moments = moments, Seed = 5 });
            this.Count(("w", w));
            Compare.NoSubnormals("m", Values(m));
            Compare.NoSubnormals("v", Values(v));
        }

        Assert.All(Values(m), e => Assert.Equal(0, e));
        Assert.All(Values(v), e => Assert.Equal(0, e));

        // Two bfloat16 in a float's place.
        Tensor Moments(float[] values)
        {
            if (!half)
                return From([Count], values);
            float[] packed = new float[Count / 2];
            for (int i = 0; i < packed.Length; i++)
                packed[i] = BitConverter.UInt32BitsToSingle(
                    (BitConverter.SingleToUInt32Bits(values[2 * i]) >> 16) | (
                        BitConverter.SingleToUInt32Bits(values[2 * i + 1]) & 0xFFFF0000));
            return From([Count / 2], packed);
        }

        float[] Values(Tensor tensor) => !half ? tensor.ToArray() :
        [
            .. tensor.ToArray().SelectMany(e =>
                new[] { BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(e) << 16),
                BitConverter.UInt32BitsToSingle(BitConverter.SingleToUInt32Bits(e) & 0xFFFF0000) }),
        ];
    }

    [Fact]
    public void Moments_WithoutGradient_EndAtZero()
    {
        const int Count = 37;
        var data = new TestData(7);
        Tensor w = From([Count], data.Normal(Count)), g = Zeros([Count]), m = From([Count], data.Normal(Count)),
            v = From([Count], data.Uniform(Count, 0, 1));
        var settings = new MomentSettings
        {
            LearningRate = 1e-3f, Keep1 = 0.25f, Write1 = 1, Keep2 = 0.3f, Write2 = 0.7f, ReadMoment = 1, Epsilon = 1e-8f,
        };
        for (int step = 0; step < 100; step++)
        {
            MomentCommit.Apply(new MomentTensors(w, g, m, v), settings);
            this.Count(("w", w), ("m", m), ("v", v));
        }

        Assert.All([.. m.ToArray(), .. v.ToArray()], e => Assert.Equal(0, e));
    }

    [Fact]
    public void TinyGradients_LeaveNoSubnormalMoments()
    {
        const int Count = 64;
        float[] gradient = new float[Count];
        for (int i = 0; i < Count; i++)
            gradient[i] = MathF.ScaleB(i % 2 == 0 ? 1.5f : -1.5f, -2 * i - 20);
        Tensor w = Zeros([Count]), m = Zeros([Count]), v = Zeros([Count]), m2 = Zeros([Count]), v2 = Zeros([Count]), w2 = Zeros([Count]);
        for (int step = 1; step <= 4; step++)
        {
            AdamCommit.Apply(w, From([Count], gradient), m, v, new AdamSettings(1e-3f, 0.9, 0.999, 1e-8f, 0, false, step, 1));
            MomentCommit.Apply(
                new MomentTensors(w2, From([Count], gradient), m2, v2),
                new MomentSettings
                {
                    LearningRate = 1e-3f, Keep1 = 0.9f, Write1 = 0.1f, Keep2 = 0.9f, Write2 = 0.1f, ReadMoment = 1,
                    Epsilon = 1e-8f
                });
            this.Count(("w", w), ("m", m), ("v", v), ("w2", w2), ("m2", m2), ("v2", v2));
        }
    }

    [Fact]
    public void WideGelu_LeavesNoSubnormals_AndIsExactAtItsEnds()
    {
        float[] x = new float[4001];
        for (int i = 0; i < x.Length; i++)
            x[i] = (i - 2000) * 0.01f;
        float[] ones = new float[x.Length], tiny = new float[x.Length];
        ones.AsSpan().Fill(1);
        tiny.AsSpan().Fill(1e-25f);
        Tensor input = From([x.Length], x), y = Unwritten([x.Length]), slope = Unwritten([x.Length]), dx = Unwritten([x.Length]);
        Elementwise.ActivationForward(Activation.Gelu, input, y);
        Elementwise.ActivationBackward(Activation.Gelu, input, From([x.Length], ones), slope);
        Elementwise.ActivationBackward(Activation.Gelu, input, From([x.Length], tiny), dx);
        Count(("y", y), ("slope", slope), ("dx", dx));
        float[] values = y.ToArray(), slopes = slope.ToArray();
        for (int i = 0; i < x.Length; i++)
        {
            if (MathF.Abs(x[i]) < 9.505f)
                continue;
            Assert.Equal(MathF.Max(x[i], 0), values[i]);
            Assert.Equal(x[i] > 0 ? 1 : 0, slopes[i]);
        }

        // The same as epilogues of products, where A is the column x and B one row.
        Tensor column = From([x.Length, 1], x), z = Unwritten([x.Length, 2]), h = Unwritten([x.Length, 2]), dz = Unwritten([x.Length, 2]);
        Gemm.Multiply(new GemmArguments { A = column, B = From([1, 2], [1, 0.75f]), C = h, Epilogue = Epilogue.Gelu, PreActivation = z });
        Gemm.Multiply(new GemmArguments
        {
            A = From([x.Length, 1], tiny), B = From([1, 2], [1, 0.75f]), C = dz, Epilogue = Epilogue.GeluGradient, PreActivation = z,
        });
        Count(("h", h), ("dz", dz));
    }

    [Fact]
    public void SoftmaxTails_LeaveNoSubnormals()
    {
        const int Rows = 3, Columns = 41, Time = 12, Dim = 8;
        float[] logits = new float[Rows * Columns];
        for (int i = 0; i < logits.Length; i++)
            logits[i] = -2.5f * (i % Columns);
        IndexTensor targets = Device.FromIndices([Rows], [0, 3, -1]);
        using (targets)
        {
            Tensor losses = Unwritten([Rows]), sums = Unwritten([Rows]), gradient = Unwritten([Rows, Columns]),
                other = Unwritten([Rows, Columns]);
            CrossEntropy.WithGradient(From([Rows, Columns], logits), targets, 1e-6f, losses, gradient);
            CrossEntropy.Forward(From([Rows, Columns], logits), targets, losses, sums);
            CrossEntropy.Backward(From([Rows, Columns], logits), targets, sums, From([Rows], [1e-6f, 1e-20f, 1]), other);
            Count(("losses", losses), ("gradient", gradient), ("backward", other));
        }

        // Keys along one axis, ever farther from the queries.
        Shape shape = [1, Time, 1, Dim];
        float[] q = new float[Time * Dim], k = new float[Time * Dim];
        for (int t = 0; t < Time; t++)
            (q[t * Dim], k[t * Dim]) = (1, -8f * t);
        var data = new TestData(8);
        var inputs = new AttentionInputs { Q = From(shape, q), K = From(shape, k), V = From(shape, data.Normal(shape, 1e-3f)) };
        var outputs = new AttentionOutputs { O = Unwritten(shape), LogSums = Unwritten([1, Time, 1]) };
        var gradients = new AttentionGradients { Q = Unwritten(shape), K = Unwritten(shape), V = Unwritten(shape) };
        Attention.Forward(inputs, new AttentionSettings(1), outputs);
        Attention.Backward(inputs, new AttentionSettings(1), outputs, From(shape, data.Normal(shape, 1e-6f)), gradients);
        Count(("o", outputs.O), ("dq", gradients.Q), ("dk", gradients.K), ("dv", gradients.V));
    }

    private void Count(params ReadOnlySpan<(string Name, Tensor? Tensor)> tensors)
    {
        foreach ((string name, Tensor? tensor) in tensors)
        {
            if (tensor is not null)
                Compare.NoSubnormals(name, tensor.ToArray());
        }
    }

    /// <summary>A run of an operation whose inputs are of order one, but every third number: subnormal, or zero.</summary>
    private sealed class Run(SubnormalTests suite, bool subnormal)
    {
        private ulong _inputs;

        public List<(string Name, Func<float[]> Elements)> Results { get; } = [];

        public Device Device => suite.Device;

        public Tensor In(Shape shape, float low = -1, float high = 1)
        {
            float[] elements = new TestData(20 + _inputs++).Uniform(shape, low, high);
            for (int i = 1; i < elements.Length; i += 3)
                elements[i] = MathF.CopySign(subnormal ? MathF.ScaleB(1 + i % 97, -142) : 0, elements[i]);
            return suite.From(shape, elements);
        }

        /// <summary>One that the operation may add to or change.</summary>
        public Tensor Changed(string name, Shape shape, float low = -1, float high = 1)
        {
            Tensor tensor = In(shape, low, high);
            Results.Add((name, tensor.ToArray));
            return tensor;
        }

        public Tensor Out(string name, Shape shape)
        {
            Tensor tensor = suite.Unwritten(shape);
            Results.Add((name, tensor.ToArray));
            return tensor;
        }

        public IndexTensor Indices(params int[] indices) => suite.Device.FromIndices([indices.Length], indices);
    }

    private static readonly AdamSettings s_adam = new(1e-3f, 0.9, 0.999, 1e-8f, 0.01f, true, 3, 1);

    private static readonly Dictionary<string, Action<Run>> s_operations = new()
    {
        ["AdamCommit"] = r => AdamCommit.Apply(r.Changed("w", [50]), r.In([50]), r.Changed("m", [50]), r.Changed("v", [50], 0), s_adam),
        ["MomentCommit"] = r => MomentCommit.Apply(
            new MomentTensors(r.Changed("w", [50]), r.In([50]), r.Changed("m", [50]), r.Changed("v", [50], 0)),
            new MomentSettings
            {
                LearningRate = 0.1f, Keep1 = 0.9f, Write1 = 0.1f, Keep2 = 0.9f, Write2 = 0.1f, ReadMoment = 1,
                Epsilon = 1e-3f
            }),
        ["GemmAdamCommit"] = r =>
        GemmAdamCommit.Apply(r.In([5, 7]), r.In([5, 9]), null, r.Changed("w", [7, 9]), r.Changed("m", [7, 9]), r.Changed("v", [7, 9], 0),
            s_adam),
        ["AttentionForward"] = r => Attend(r, backward: false),
        ["AttentionBackward"] = r => Attend(r, backward: true),
        ["CrossEntropyForward"] = r =>
        {
            using IndexTensor targets = r.Indices(1, 7, -1);
            CrossEntropy.Forward(r.In([3, 20]), targets, r.Out("losses", [3]), r.Out("log sums", [3]));
        },
        ["CrossEntropyBackward"] = r =>
        {
            using IndexTensor targets = r.Indices(1, 7, -1);
            CrossEntropy.Backward(r.In([3, 20]), targets, r.In([3], 3, 4), r.In([3]), r.Out("dlogits", [3, 20]));
        },
        ["CrossEntropyWithGradient"] = r =>
        {
            using IndexTensor targets = r.Indices(1, 7, -1);
            CrossEntropy.WithGradient(r.In([3, 20]), targets, 0.3f, r.Out("losses", [3]), r.Out("dlogits", [3, 20]));
        },
        ["DeepMemoryForward"] = r => Deep(r, backward: false),
        ["DeepMemoryBackward"] = r => Deep(r, backward: true),
        ["Gemm"] = Multiply,
        ["BatchedGemm"] = r => Gemm.MultiplyBatch(r.In([2, 5, 7]), r.In([2, 7, 9]), r.Out("c", [2, 5, 9])),
        ["ColumnSum"] = r => ColumnSum.Add(r.In([5, 11]), r.Changed("sums", [11])),
        ["NormForward"] = r =>
        {
            foreach (NormKind kind in Enum.GetValues<NormKind>())
                Norm.Forward(kind, r.In([3, 19]), kind == NormKind.L2 ? null : r.In([19]), kind == NormKind.Layer ? r.In([19]) : null,
                    1e-5f, r.Out($"y {kind}", [3, 19]));
        },
        ["NormBackward"] = r =>
        {
            foreach (NormKind kind in Enum.GetValues<NormKind>())
            {
                bool gains = kind != NormKind.L2;
                Norm.Backward(
                    kind, r.In([3, 19]), gains ? r.In([19]) : null, 1e-5f, r.In([3, 19]), r.Out($"dx {kind}", [3, 19]),
                    gains ? r.Changed($"dgain {kind}", [19]) : null,
                    kind == NormKind.Layer ? r.Changed($"dbias {kind}", [19]) : null);
            }
        },
        ["CausalConvolutionForward"] = r =>
            CausalConvolution.Forward(r.In([1, 6, 10]), r.In([10, 4]), r.In([10]), r.In([1, 3, 10]), r.Out("y", [1, 6, 10]), null),
        ["CausalConvolutionBackward"] = r => CausalConvolution.Backward(
            r.In([1, 6, 10]), r.In([10, 4]), r.In([1, 3, 10]), r.In([1, 6, 10]), r.Out("dx", [1, 6, 10]), r.Changed("dweight", [10, 4]),
                r.Changed("dbias", [10])),
        ["ActivationForward"] = r =>
        {
            foreach (Activation activation in Enum.GetValues<Activation>())
                Elementwise.ActivationForward(activation, r.In([40], -20, 20), r.Out($"{activation}", [40]));
        },
        ["ActivationBackward"] = r =>
        {
            foreach (Activation activation in Enum.GetValues<Activation>())
                Elementwise.ActivationBackward(activation, r.In([40], -20, 20), r.In([40]), r.Out($"{activation}", [40]));
        },
        ["AddScaled"] = r => Elementwise.AddScaled(0.3f, r.In([40]), r.Changed("y", [40])),
        ["Multiply"] = r => Elementwise.Multiply(r.In([40]), r.In([40]), r.Out("z", [40])),
        ["Ridge"] = r =>
        {
            using var state = new RidgeState(r.Device, 9, 3, 0.5);
            Ridge.Learn(state, r.In([11, 9]), r.In([11, 3]), 0.9, r.Out("o", [11, 3]));
            float[] w = state.W.ToArray(), low = state.WLow.ToArray(), p = Array.ConvertAll(state.Covariance(), e => (float)e);
            r.Results.AddRange([("w", () => w), ("w low", () => low), ("p", () => p)]);
        },
        ["Mixture"] = r =>
        {
            using Tensor w = r.Device.From([3], [0.5f, 0.5f, 0]);
            Mixture.Mix(r.In([9, 3]), w, 0, r.Out("o", [9]));
            float[] weights = w.ToArray();
            r.Results.Add(("w", () => weights));
        },
        ["Rotate"] = r => Rotation.Apply(r.In([2, 3, 2, 8]), r.In([3, 8]), back: false, r.Out("y", [2, 3, 2, 8])),
        ["Scale"] = r => r.Device.Backend.Scale(r.Changed("x", [40]), 0.3f),
        ["SumOfSquares"] = r =>
        {
            double sum = r.Device.Backend.SumOfSquares(r.In([40]));
            r.Results.Add(("sum", () => [(float)sum]));
        },
        ["EmbeddingForward"] = r =>
        {
            // A copy, which keeps what it copies.
            using IndexTensor tokens = r.Indices(3, 0, 3);
            Tensor y = r.Out("y", [3, 10]);
            Embedding.Forward(tokens, r.In([4, 10]), y);
            r.Results[0] = ("y", () => Array.ConvertAll(y.ToArray(), e => float.IsSubnormal(e) ? 0 : e));
        },
        ["EmbeddingBackward"] = r =>
        {
            using IndexTensor tokens = r.Indices(3, 0, 3, 1, 2);
            Embedding.Backward(tokens, r.In([5, 10]), r.Changed("dtable", [4, 10]));
        },
        ["ScanForward"] = r => ScanOver(r, backward: false),
        ["ScanBackward"] = r => ScanOver(r, backward: true),
        ["SelfModifyingForward"] = r => SelfModify(r, backward: false),
        ["SelfModifyingBackward"] = r => SelfModify(r, backward: true),
        ["CopyTokens"] = r => r.Device.Backend.CopyTokens(r.In([1, 4, 10]), 1, r.Changed("sum", [1, 3, 10]), 0, 3, accumulate: true),
    };

    private static void Attend(Run r, bool backward)
    {
        Shape shape = [1, 7, 2, 6];
        var inputs = new AttentionInputs { Q = r.In(shape), K = r.In(shape), V = r.In(shape) };
        var outputs = new AttentionOutputs { O = r.Out("o", shape), LogSums = r.Out("log sums", [1, 7, 2]) };
        Attention.Forward(inputs, new AttentionSettings(0.4f), outputs);
        if (backward)
            Attention.Backward(inputs, new AttentionSettings(0.4f), outputs, r.In(shape), new AttentionGradients
            {
                Q = r.Out("dq", shape), K = r.Out("dk", shape), V = r.Out("dv", shape),
            });
    }

    private static void Multiply(Run r)
    {
        foreach (GemmPrecision precision in Enum.GetValues<GemmPrecision>())
        {
            foreach ((int m, int n, int k) in (ReadOnlySpan<(int, int, int)>)[(1, 9, 7), (3, 8, 5), (17, 33, 20)])
            {
                string name = $"{precision} {m} {n} {k}";
                Gemm.Multiply(new GemmArguments
                {
                    A = r.In([m, k]), B = r.In([k, n]), C = r.Out(name, [m, n]), Bias = r.In([n]), Residual = r.In([m, n]),
                    Precision = precision,
                });
                Gemm.Multiply(new GemmArguments
                {
                    A = r.In([k, m]), TransposeA = true, B = r.In([n, k]), TransposeB = true, C = r.Changed(name + " accumulated", [m, n]),
                    Accumulate = true, Precision = precision,
                });
                Tensor z = r.Out(name + " z", [m, n]);
                Gemm.Multiply(new GemmArguments
                {
                    A = r.In([m, k]), B = r.In([k, n]), C = r.Out(name + " gelu", [m, n]), Epilogue = Epilogue.Gelu, PreActivation = z,
                    Precision = precision,
                });
                Gemm.Multiply(new GemmArguments
                {
                    A = r.In([m, k]), B = r.In([n, k]), TransposeB = true, C = r.Out(name + " slope", [m, n]),
                    Epilogue = Epilogue.GeluGradient, PreActivation = z, Precision = precision,
                });
            }
        }
    }

    private static void ScanOver(Run r, bool backward)
    {
        Shape tokens = [1, 11, 2, 6], gates = [1, 11, 2], state = [1, 2, 6, 6];
        var settings = new ScanSettings(1, ScanRead.After, ScanWrite.Scaled, 4);
        var inputs = new ScanInputs
        {
            Q = r.In(tokens),
            K = r.In(tokens, -0.4f, 0.4f),
            U = r.In(tokens),
            LogAlpha = r.In(gates, -0.3f, 0),
            Erase = r.In(gates, 0, 0.5f),
            Mu = r.In(gates, 0, 0.5f),
            Theta = r.In(gates, 0, 1),
            S0 = r.In(state),
            P0 = r.In(state),
        };
        Tensor states = r.Device.Empty(Scan.SavedShape(inputs, settings)), momenta = r.Device.Empty(states.Shape);
        using (states)
        using (momenta)
        {
            Scan.Forward(inputs, settings, new ScanOutputs
            {
                O = r.Out("o", tokens), S = r.Out("s", state), P = r.Out("p", state), Saved = new ScanSaved(states, momenta),
            });
            if (!backward)
                return;
            var gradients = new ScanGradients
            {
                Q = r.Out("dq", tokens),
                K = r.Out("dk", tokens),
                U = r.Out("du", tokens),
                LogAlpha = r.Out("dlog_alpha", gates),
                Erase = r.Out("derase", gates),
                Mu = r.Out("dmu", gates),
                Theta = r.Out("dtheta", gates),
                S0 = r.Out("ds0", state),
                P0 = r.Out("dp0", state),
            };
            Scan.Backward(inputs, settings, new ScanSaved(states, momenta), new ScanOutputGradients(r.In(tokens), r.In(state), r.In(state)),
                gradients);
        }
    }

    private static void SelfModify(Run r, bool backward)
    {
        Shape tokens = [1, 9, 1, 5], state = [1, 1, 5, SelfModifyingSettings.StateColumns(5)];
        var settings = new SelfModifyingSettings(4, MemoryObjective.L2, ScanRead.Before, 0.1f, -1, 2);
        var inputs = new SelfModifyingInputs { X = r.In(tokens, -0.5f, 0.5f), Q = r.In(tokens), S0 = r.In(state, -0.4f, 0.4f) };
        using Tensor states = r.Device.Empty(SelfModifying.SavedShape(inputs, settings));
        SelfModifying.Forward(inputs, settings, new SelfModifyingOutputs
        {
            O = r.Out("o", tokens), S = r.Out("s", state), ChunkStates = states,
        });
        if (backward)
        {
            SelfModifying.Backward(
                inputs, settings, states, new SelfModifyingOutputGradients(r.In(tokens), r.In(state)),
                new SelfModifyingGradients { X = r.Out("dx", tokens), Q = r.Out("dq", tokens), S0 = r.Out("ds0", state) });
        }
    }

    private static void Deep(Run r, bool backward)
    {
        Shape tokens = [1, 7, 1, 5], gates = [1, 7, 1], shape1 = [1, 1, 6, 5], shape2 = [1, 1, 5, 6];
        var settings = new DeepMemorySettings(4, MemoryObjective.L2, ScanRead.After);
        var inputs = new DeepMemoryInputs
        {
            Q = r.In(tokens),
            K = r.In(tokens, -0.5f, 0.5f),
            V = r.In(tokens),
            LogAlpha = r.In(gates, -0.3f, 0),
            Theta = r.In(gates, 0, 0.1f),
            Erase = r.In(gates, 0, 0.5f),
            Mu = r.In(gates, 0, 0.5f),
            W1 = r.In(shape1, -0.4f, 0.4f),
            W2 = r.In(shape2),
            P1 = r.In(shape1),
            P2 = r.In(shape2),
        };
        using Tensor saved1 = r.Device.Empty(DeepMemory.SavedShape1(inputs, settings)),
            saved2 = r.Device.Empty(DeepMemory.SavedShape2(inputs, settings));
        using Tensor savedP1 = r.Device.Empty(saved1.Shape), savedP2 = r.Device.Empty(saved2.Shape);
        var saved = new DeepMemorySaved(saved1, saved2, savedP1, savedP2);
        DeepMemory.Forward(inputs, settings, new DeepMemoryOutputs
        {
            O = r.Out("o", tokens), W1 = r.Out("w1", shape1), W2 = r.Out("w2", shape2), P1 = r.Out("p1", shape1), P2 = r.Out("p2", shape2),
            Saved = saved,
        });
        if (!backward)
            return;
        var gradients = new DeepMemoryGradients
        {
            Q = r.Out("dq", tokens),
            K = r.Out("dk", tokens),
            V = r.Out("dv", tokens),
            LogAlpha = r.Out("dlog_alpha", gates),
            Theta = r.Out("dtheta", gates),
            Erase = r.Out("derase", gates),
            Mu = r.Out("dmu", gates),
            W1 = r.Out("dw1", shape1),
            W2 = r.Out("dw2", shape2),
            P1 = r.Out("dp1", shape1),
            P2 = r.Out("dp2", shape2),
        };
        DeepMemory.Backward(inputs, settings, saved,
            new DeepMemoryOutputGradients { O = r.In(tokens), W1 = r.In(shape1), W2 = r.In(shape2) }, gradients);
    }
}

public sealed class ManagedSubnormalTests() : SubnormalTests("managed");

public sealed class CpuSubnormalTests() : SubnormalTests("cpu");
