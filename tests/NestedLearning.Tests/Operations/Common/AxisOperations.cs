using NestedLearning.Testing;

namespace NestedLearning.Tests;

/// <summary>Every operation of the seam with the axes of its tensors, forward and backward where it has both.</summary>
internal static class AxisOperations
{
    private const string Memory = "B=2 T=9 H=3 ";

    public static IReadOnlyList<AxisOperation> All { get; } =
    [
        Of("scan", "ScanForward ScanBackward", Memory + "Dk=5 Dv=6", "Dk Dv",
            r => Scan(r, new ScanSettings(0.7f, ScanRead.After, ScanWrite.Given, 4), held: 0, optional: false)) with
        {
            States = [("in s0", "s")],
        },
        Of("scan with every gate", "ScanForward ScanBackward", Memory + "Dk=5 Dv=6", "Dk Dv",
            r => Scan(r, new ScanSettings(0.7f, ScanRead.Before, ScanWrite.Scaled, 4), held: ~2)) with
        {
            States = [("in s0", "s"), ("in p0", "p")],
        },
        Of("scan that reads inside a chunk", "ScanForward ScanBackward", Memory + "Dk=5 Dv=6", "Dk Dv",
            r => Scan(r, new ScanSettings(0.7f, ScanRead.ChunkStart, ScanWrite.Scaled, 4) { Phase = 1 }, held: -1)) with
        {
            States = [("in s0", "s"), ("in p0", "p"), ("in chunk_start", "chunk_start")],
        },
        Of("scan of a frozen rule", "ScanForward ScanBackward", Memory + "Dk=5 Dv=6", "Dk Dv",
            r => Scan(r, new ScanSettings(0.7f, ScanRead.ChunkStart, ScanWrite.FrozenL2, 4), held: ~2)) with
        {
            States = [("in s0", "s"), ("in p0", "p")],
        },
        Of("scan of a frozen rule inside a chunk", "ScanForward ScanBackward", Memory + "Dk=5 Dv=6", "Dk Dv",
            r => Scan(r, new ScanSettings(0.7f, ScanRead.After, ScanWrite.FrozenL2, 4) { Phase = 3 }, held: -1)),
        Of("self-modifying", "SelfModifyingForward SelfModifyingBackward", Memory + "D=5", "",
            r => SelfModifying(r, new SelfModifyingSettings(4, MemoryObjective.L2, ScanRead.Before, 0.1f, -1, 2))) with
        {
            States = [("in s0", "s")],
        },
        Of("self-modifying inside a chunk", "SelfModifyingForward SelfModifyingBackward", Memory + "D=5", "",
            r => SelfModifying(
                r, new SelfModifyingSettings(4, MemoryObjective.DotProduct, ScanRead.After, 0.1f, -1, 2, true) { Phase = 1 })) with
        {
            States = [("in s0", "s"), ("in chunk_start", "chunk_start")],
        },
        Of("deep memory", "DeepMemoryForward DeepMemoryBackward", Memory + "D=5 N=6", "D N",
            r => DeepMemory(r, new DeepMemorySettings(4, MemoryObjective.L2, ScanRead.After), held: ~2)) with
        {
            States = [("in w1", "w1"), ("in w2", "w2"), ("in p1", "p1"), ("in p2", "p2")],
        },
        Of("deep memory inside a chunk", "DeepMemoryForward DeepMemoryBackward", Memory + "D=5 N=6", "D N",
            r => DeepMemory(r, new DeepMemorySettings(4, MemoryObjective.DotProduct, ScanRead.Before, false) { Phase = 2 }, held: -1)) with
        {
            States = [("in w1", "w1"), ("in w2", "w2"), ("in chunk_start1", "chunk_start1"), ("in chunk_start2", "chunk_start2")],
        },
        Of("attention", "AttentionForward AttentionBackward", "B=2 T=6 S=9 H=3 Dk=5 Dv=7", "Dk Dv", Attention),
        Of("product", "Gemm", "M=5 N=9 K=7", "K", Product),
        Of("products", "BatchedGemm", "B=3 M=5 P=9 K=7", "K", r =>
        {
            Gemm.MultiplyBatch(r.In("B M K"), r.In("B K P"), r.Out("c", "B M P"));
            Gemm.MultiplyBatch(r.In("B K M"), r.In("B P K"), r.Changed("c, transposed", "B M P"), true, true, accumulate: true);
        }),
        Of("Adam", "AdamCommit", "N=37", "", r =>
        {
            AdamSettings settings = new(1e-3f, 0.9, 0.999, 1e-8f, 0.01f, true, 3, 1);
            AdamCommit.Apply(r.Changed("w", "N"), r.In("N"), r.Changed("m", "N"), r.Changed("v", "N", 0), settings);
        }),
        Of("moments", "MomentCommit", "N=37", "", r => MomentCommit.Apply(
            new MomentTensors(r.Changed("w", "N"), r.In("N"), r.Changed("m", "N"), r.Changed("v", "N", 0)),
            new MomentSettings
            {
                LearningRate = 0.1f, Keep1 = 0.9f, Write1 = 0.1f, Keep2 = 0.9f, Write2 = 0.1f, ReadMoment = 1, Epsilon = 1e-3f,
            })),
        Of("product and Adam", "GemmAdamCommit", "T=5 M=7 N=9", "T", r =>
        {
            AdamSettings settings = new(1e-2f, 0.9, 0.999, 0.1f, 0.1f, true, 1, 0.5f);
            GemmAdamCommit.Apply(r.In("T M"), r.In("T N"), null, r.Changed("w", "M N"), r.Changed("m", "M N"), r.Changed("v", "M N", 0),
                settings);
            GemmAdamCommit.Apply(r.In("T M"), r.In("T N"), r.In("M N"), r.Changed("w and a sum", "M N"), r.Changed("m and a sum", "M N"),
                r.Changed("v and a sum", "M N", 0), settings);
        }),
        Of("cross-entropy", "CrossEntropyForward CrossEntropyBackward CrossEntropyWithGradient", "N=4 V=20", "", r =>
        {
            IndexTensor targets = r.Indices("N", -1, r.Length("V"));
            Tensor logits = r.In("N V"), sums = r.Out("log sums", "N");
            CrossEntropy.Forward(logits, targets, r.Out("losses", "N"), sums);
            CrossEntropy.Backward(logits, targets, sums, r.In("N"), r.Out("dlogits", "N V"));
            CrossEntropy.WithGradient(logits, targets, 0.3f, r.Out("losses with gradient", "N"), r.Out("dlogits with losses", "N V"));
        }),
        Of("cross-entropy of an output layer", "CrossEntropyForward CrossEntropyBackward CrossEntropyWithGradient", "N=4 D=5 V=20", "D N",
            r =>
        {
            IndexTensor targets = r.Indices("N", -1, r.Length("V"));
            Tensor x = r.In("N D"), w = r.In("V D"), sums = r.Out("log sums", "N");
            LinearCrossEntropy.Forward(x, w, targets, r.Out("losses", "N"), sums);
            LinearCrossEntropy.Backward(x, w, targets, sums, r.In("N"), r.Out("dx", "N D"), r.Changed("dw", "V D"));
            LinearCrossEntropy.WithGradient(x, w, targets, 0.3f, r.Out("losses with gradient", "N"), r.Out("dx with losses", "N D"),
                r.Changed("dw with losses", "V D"));
        }),
        Of("column sum", "ColumnSum", "M=5 N=11", "M", r => ColumnSum.Add(r.In("M N"), r.Changed("sums", "N"))),
        Of("norms", "NormForward NormBackward", "M=35 N=19", "M", Norms),
        Of("convolution", "CausalConvolutionForward CausalConvolutionBackward", "B=2 T=6 D=10", "B T", r =>
        {
            Tensor x = r.In("B T D"), weight = r.In("D 4"), state = r.In("B 3 D");
            CausalConvolution.Forward(x, weight, r.In("D"), state, r.Out("y", "B T D"), r.Out("state", "B 3 D", depends: "T"));
            CausalConvolution.Backward(x, weight, state, r.In("B T D"), r.Out("dx", "B T D"), r.Changed("dweight", "D 4"),
                r.Changed("dbias", "D"));
        }),
        Of("activations", "ActivationForward ActivationBackward", "N=40", "", r =>
        {
            foreach (Activation activation in Enum.GetValues<Activation>())
            {
                Elementwise.ActivationForward(activation, r.In("N"), r.Out($"{activation}", "N"));
                Elementwise.ActivationBackward(activation, r.In("N"), r.In("N"), r.Out($"{activation}'", "N"));
            }
        }),
        Of("element by element", "AddScaled Multiply Scale SumOfSquares", "M=3 N=13", "M N", r =>
        {
            Elementwise.AddScaled(0.3f, r.In("M N"), r.Changed("y", "M N"));
            Elementwise.Multiply(r.In("M N"), r.In("M N"), r.Out("z", "M N"));
            r.Device.Backend.Scale(r.Changed("x", "M N"), 0.3f);
            double sum = r.Device.Backend.SumOfSquares(r.In("M N")), norm = GlobalNorm.Of(r.In("M N"), r.In("N"));
            r.Results.Add(new AxisResult("sum", [], () => [(float)sum, (float)norm]));
        }),
        Of("Newton–Schulz", "Gemm Scale SumOfSquares", "M=5 N=7", "", r => NewtonSchulz.Orthogonalize(r.In("M N"), r.Out("x", "M N"))),
        Of("ridge", "Ridge", "T=5 D=9 V=3", "D T", r =>
        {
            int features = r.Length("D"), outputs = r.Length("V");
            var state = new RidgeState(r.Device, features, outputs, 0.5);
            r.Own(state.Factor);
            r.Own(state.W);
            r.Own(state.WLow);
            Ridge.Learn(state, r.In("T D"), r.In("T V"), 1, r.Out("o", "T V"));
            r.Results.Add(new AxisResult("w", ["D", "V"], state.W.ToArray));
            r.Results.Add(new AxisResult("p", ["D"], () => Array.ConvertAll(state.Covariance(), e => (float)e)));
        }),
        Of("mixture", "Mixture", "T=5 K=3", "", r =>
        {
            Tensor w = r.Own(r.Device.Full([r.Length("K")], 1f / r.Length("K")));
            Mixture.Mix(r.In("T K"), w, 0.1f, r.Out("o", "T"));
            r.Results.Add(new AxisResult("w", ["K"], w.ToArray));
        }),
        Of("rotation", "Rotate", "B=2 T=3 H=2 D=8", "", r =>
        {
            Tensor table = r.Own(r.Device.Full([r.Length("T"), r.Length("D") / 2 * 2], 0.6f));
            Rotation.Apply(r.In("B T H D"), table, back: false, r.Out("y", "B T H D"));
            Rotation.Apply(r.In("B T H D"), table, back: true, r.Out("dx", "B T H D"));
        }),
        Of("embedding", "EmbeddingForward EmbeddingBackward", "T=5 V=4 D=10", "T", r =>
        {
            IndexTensor tokens = r.Indices("T", 0, r.Length("V"));
            Embedding.Forward(tokens, r.In("V D"), r.Out("y", "T D"));
            Embedding.Backward(tokens, r.In("T D"), r.Changed("dtable", "V D"));
        }),
        Of("tokens", "CopyTokens", "B=2 T=4 D=10", "", r =>
        {
            r.Device.Backend.CopyTokens(r.In("B T D"), 0, r.Changed("sum", "B T D"), 0, r.Length("T"), accumulate: true);
            r.Device.Backend.CopyTokens(r.In("B T D"), 0, r.Out("copy", "B T D"), 0, r.Length("T"), accumulate: false);
        }),
    ];

    private static AxisOperation Of(string name, string seam, string lengths, string summed, Action<AxisRun> run) =>
        new(name, seam, AxisOperation.Parse(lengths), summed, run);

    private static void Scan(AxisRun r, ScanSettings settings, int held, bool optional = true)
    {
        held = settings.Write == ScanWrite.Given ? held & ~4 : held;
        held = settings.HasMeaningfulChunk ? held : held & ~8;
        r.Set("chunks", settings.Chunks(r.Length("T")));
        var inputs = Inputs(r, ScanTensors.Inputs, held, optional, "s0");
        var saved = Outputs(r, ScanTensors.Saved, held, "");
        var outputs = Outputs(r, ScanTensors.Outputs, held, "");
        NestedLearning.Operations.Scan.Forward(inputs, settings, outputs with { Saved = saved });
        var upstream = Inputs(r, ScanTensors.Outputs.Gradients, held);
        var gradients = Outputs(r, ScanTensors.Inputs.Gradients, held, optional ? "" : "dlog_alpha derase dmu dtheta dp0");
        NestedLearning.Operations.Scan.Backward(inputs, settings, saved, upstream, gradients);
    }

    private static void SelfModifying(AxisRun r, SelfModifyingSettings settings)
    {
        int held = SelfModifyingTensors.Held(settings);
        r.Set("chunks", settings.Chunks(r.Length("T")));
        var inputs = Inputs(r, SelfModifyingTensors.Inputs, held);
        Tensor saved = Outputs(r, SelfModifyingTensors.Saved, held, "")!;
        var outputs = Outputs(r, SelfModifyingTensors.Outputs, held, "");
        NestedLearning.Operations.SelfModifying.Forward(inputs, settings, outputs with { ChunkStates = saved });
        var upstream = Inputs(r, SelfModifyingTensors.Outputs.Gradients, held);
        NestedLearning.Operations.SelfModifying.Backward(inputs, settings, saved, upstream,
            Outputs(r, SelfModifyingTensors.Inputs.Gradients, held, ""));
    }

    private static void DeepMemory(AxisRun r, DeepMemorySettings settings, int held)
    {
        r.Set("chunks", settings.Chunks(r.Length("T")));
        var inputs = Inputs(r, DeepMemoryTensors.Inputs, held);
        var saved = Outputs(r, DeepMemoryTensors.Saved, held, "");
        var outputs = Outputs(r, DeepMemoryTensors.Outputs, held, "");
        NestedLearning.Operations.DeepMemory.Forward(inputs, settings, outputs with { Saved = saved });
        var upstream = Inputs(r, DeepMemoryTensors.Outputs.Gradients, held);
        NestedLearning.Operations.DeepMemory.Backward(inputs, settings, saved, upstream,
            Outputs(r, DeepMemoryTensors.Inputs.Gradients, held, ""));
    }

    private static void Attention(AxisRun r)
    {
        var settings = new AttentionSettings(0.4f);
        var inputs = Inputs(r, AttentionTensors.Inputs, held: 0);
        var outputs = new AttentionOutputs { O = r.Out("o", "B T H Dv"), LogSums = r.Out("log sums", "B T H") };
        NestedLearning.Operations.Attention.Forward(inputs, settings, outputs);
        NestedLearning.Operations.Attention.Backward(inputs, settings, outputs, r.In("B T H Dv"),
            Outputs(r, AttentionTensors.Inputs.Gradients, 0, ""));
    }

    private static void Product(AxisRun r)
    {
        foreach (GemmPrecision precision in Enum.GetValues<GemmPrecision>())
        {
            Tensor z = r.Out($"{precision} z", "M N");
            Gemm.Multiply(new GemmArguments
            {
                A = r.In("M K"), B = r.In("K N"), C = r.Out($"{precision}", "M N"), Bias = r.In("N"), Residual = r.In("M N"),
                ResidualScale = 0.5f, Precision = precision,
            });
            Gemm.Multiply(new GemmArguments
            {
                A = r.In("K M"), TransposeA = true, B = r.In("N K"), TransposeB = true, C = r.Changed($"{precision} added", "M N"),
                Accumulate = true, Precision = precision,
            });
            Gemm.Multiply(new GemmArguments
            {
                A = r.In("M K"), B = r.In("K N"), C = r.Out($"{precision} GELU", "M N"), Epilogue = Epilogue.Gelu, PreActivation = z,
                Precision = precision,
            });
            Gemm.Multiply(new GemmArguments
            {
                A = r.In("M K"), B = r.In("N K"), TransposeB = true, C = r.Out($"{precision} slope", "M N"),
                Epilogue = Epilogue.GeluGradient, PreActivation = z, Precision = precision,
            });
            Tensor a = r.In("M K");
            Gemm.Multiply(new GemmArguments
            {
                A = a, B = a, TransposeB = true, C = r.Out($"{precision} symmetric", "M M"), Symmetric = true, Precision = precision,
            });
        }
    }

    private static void Norms(AxisRun r)
    {
        foreach (NormKind kind in Enum.GetValues<NormKind>())
        {
            Tensor? gain = kind == NormKind.L2 ? null : r.In("N");
            Tensor x = r.In("M N");
            Norm.Forward(kind, x, gain, kind == NormKind.Layer ? r.In("N") : null, 0.1f, r.Out($"y {kind}", "M N"));
            Norm.Backward(kind, x, gain, 0.1f, r.In("M N"), r.Out($"dx {kind}", "M N"),
                gain is null ? null : r.Changed($"dgain {kind}", "N"),
                kind == NormKind.Layer ? r.Changed($"dbias {kind}", "N") : null);
        }
    }

    // Inputs by a list; those named in `given` also where they are optional and no optional one is wanted.
    private static TRecord Inputs<TRecord>(AxisRun r, TensorList<TRecord> list, int held, bool optional = true, string given = "")
    {
        TRecord record = default!;
        foreach (TensorRow<TRecord> row in list.Rows)
        {
            if (!row.IsAllowed(held) || (!optional && row.Role != TensorRole.Required && !given.Split(' ').Contains(row.Name)))
                continue;
            (float low, float high) = row.Name switch
            {
                "log_alpha" => (-0.3f, 0f),
                "erase" or "mu" or "theta" => (0, 0.5f),
                "k" => (0.1f, 0.5f),
                // Hidden units well away from zero: the gradient of a unit vector is divided by its length.
                "w2" or "chunk_start2" => (0.3f, 1),
                _ => (-1, 1),
            };
            // A state before the tokens, to be compared with that after them.
            record = row.With(record, row.Axes.Contains('T', StringComparison.Ordinal)
                ? r.In(row.Axes, low, high) : r.Changed("in " + row.Name, row.Axes, low, high));
        }

        return record;
    }

    private static TRecord Outputs<TRecord>(AxisRun r, TensorList<TRecord> list, int held, string without)
    {
        TRecord record = default!;
        foreach (TensorRow<TRecord> row in list.Rows)
        {
            if (row.IsAllowed(held) && !without.Split(' ').Contains(row.Name))
                record = row.With(record, r.Out(row.Name, row.Axes));
        }

        return record;
    }
}
