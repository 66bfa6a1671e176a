namespace NestedLearning.CommandLine.Bench;

/// <summary>The operations around the memories.</summary>
internal static class DenseCases
{
    private const string MlpShape = "512→2048→512, 2048 tokens";
    private const int Tokens = 2048, Dim = 512, Hidden = 2048;
    private const int Parameters = 1 << 24;
    private const int Classes = 32000;
    private const int NewtonSchulzSteps = 5;

    private const double GemmFlops = 2.0 * 1024 * 1024 * 1024, GemmBytes = 3.0 * 1024 * 1024 * sizeof(float);

    // Two products of every token with a weight matrix; the backward pass has two more for each.
    private const double MlpFlops = 2.0 * 2 * Tokens * Dim * Hidden;
    private const double WeightBytes = 2.0 * Dim * Hidden * sizeof(float), TokenBytes = 2.0 * Tokens * Dim * sizeof(float);

    public static IReadOnlyList<BenchCase> All { get; } =
    [
        new("gemm-1024", "matrix product 1024³", GemmFlops, GemmBytes, t => TimeGemm(t, GemmPrecision.Float32)),
        // Its floor is that of float32 products, whatever the processor can do with pairs of bfloat16.
        new("gemm-1024-bf16", "matrix product 1024³, operands rounded to bfloat16", GemmFlops, GemmBytes, t =>
            TimeGemm(t, GemmPrecision.BFloat16)),
        new("gemm-64x512", "batch of 512 products 64³", 512 * 2.0 * 64 * 64 * 64, 512 * 3.0 * 64 * 64 * sizeof(float), BatchedGemm),
        new("mlp", $"residual MLP, forward, {MlpShape}", MlpFlops, WeightBytes + TokenBytes, MlpForward),
        MlpBackward("mlp-backward", "residual MLP, forward and backward", t => MlpForwardAndBackward(t)),
        // Reads w, g, m, v and writes w, m, v.
        new("adamw-16m", "AdamW, one tensor of 16M", 0, 7.0 * Parameters * sizeof(float), t => AdamW(t, 1, Parameters)),
        new("adamw-200x80k", "AdamW, 200 tensors of 80k", 0, 7.0 * 200 * 80_000 * sizeof(float), t => AdamW(t, 200, 80_000)),
        // X Xᵀ and A² are symmetric: half a product each.
        new("newton-schulz-1024", "Newton–Schulz, 5 steps, 1024×1024", NewtonSchulzSteps * (0.5 + 0.5 + 1) * 2 * 1024 * 1024 * 1024,
            2.0 * 1024 * 1024 * sizeof(float), TimeNewtonSchulz),
        // Reads the logits and writes their gradient.
        new("cross-entropy", "softmax cross-entropy, forward and backward, logits 2048×32000", 0, 2.0 * Tokens * Classes * sizeof(float),
            TimeCrossEntropy),
    ];

    private static Action TimeGemm(BenchTensors t, GemmPrecision precision)
    {
        Tensor a = t.Uniform("a", [1024, 1024]), b = t.Uniform("b", [1024, 1024]), c = t.Zeros("c", [1024, 1024]);
        var product = new GemmArguments { A = a, B = b, C = c, Precision = precision };
        return () => Gemm.Multiply(product);
    }

    private static Action BatchedGemm(BenchTensors t)
    {
        Tensor a = t.Uniform("a", [512, 64, 64]), b = t.Uniform("b", [512, 64, 64]), c = t.Zeros("c", [512, 64, 64]);
        return () => Gemm.MultiplyBatch(a, b, c);
    }

    // y = x + GELU(x W_in + b_in) W_out
    private static Action MlpForward(BenchTensors t)
    {
        (GemmArguments hidden, GemmArguments output) = Mlp(t, preActivation: null);
        return () =>
        {
            Gemm.Multiply(hidden);
            Gemm.Multiply(output);
        };
    }

    /// <summary>A case of both directions of the MLP.</summary>
    internal static BenchCase MlpBackward(string name, string title, Func<BenchTensors, Action> prepare) =>
        new(name, $"{title}, {MlpShape}", 3 * MlpFlops, 3 * WeightBytes + 2 * TokenBytes, prepare);

    /// <summary>Both directions; the first weights, and with them the pre-activations, may be larger, and the gradient smaller.</summary>
    internal static Action MlpForwardAndBackward(BenchTensors t, float weights = 1, float gradient = 1)
    {
        Tensor z = t.Zeros("z", [Tokens, Hidden]), dz = t.Zeros("dz", [Tokens, Hidden]);
        (GemmArguments hidden, GemmArguments output) = Mlp(t, z, weights);
        Tensor dy = t.Uniform("dy", [Tokens, Dim], -gradient, gradient), dBias = t.Zeros("dbias_in", [Hidden]);
        var dWeightOut = new GemmArguments
        {
            A = output.A, TransposeA = true, B = dy, C = t.Zeros("dweight_out", [Hidden, Dim]), Accumulate = true,
        };
        var dPreActivation = new GemmArguments
        {
            A = dy, B = output.B, TransposeB = true, C = dz, Epilogue = Epilogue.GeluGradient, PreActivation = z,
        };
        var dWeightIn = new GemmArguments
        {
            A = hidden.A, TransposeA = true, B = dz, C = t.Zeros("dweight_in", [Dim, Hidden]), Accumulate = true,
        };
        var dx = new GemmArguments { A = dz, B = hidden.B, TransposeB = true, C = t.Zeros("dx", [Tokens, Dim]), Residual = dy };
        return () =>
        {
            Gemm.Multiply(hidden);
            Gemm.Multiply(output);
            Gemm.Multiply(dWeightOut);
            Gemm.Multiply(dPreActivation);
            Gemm.Multiply(dWeightIn);
            ColumnSum.Add(dz, dBias);
            Gemm.Multiply(dx);
        };
    }

    private static (GemmArguments Hidden, GemmArguments Output) Mlp(BenchTensors t, Tensor? preActivation, float weights = 1)
    {
        float weightIn = weights / MathF.Sqrt(Dim), weightOut = 1 / MathF.Sqrt(Hidden);
        var hidden = new GemmArguments
        {
            A = t.Uniform("x", [Tokens, Dim]),
            B = t.Uniform("weight_in", [Dim, Hidden], -weightIn, weightIn),
            C = t.Zeros("h", [Tokens, Hidden]),
            Bias = t.Uniform("bias_in", [Hidden], -weightIn, weightIn),
            Epilogue = Epilogue.Gelu,
            PreActivation = preActivation,
        };
        var output = new GemmArguments
        {
            A = hidden.C,
            B = t.Uniform("weight_out", [Hidden, Dim], -weightOut, weightOut),
            C = t.Zeros("y", [Tokens, Dim]),
            Residual = hidden.A,
        };
        return (hidden, output);
    }

    private static Action AdamW(BenchTensors t, int tensors, int length)
    {
        AdamTensors[] memories = [.. Enumerable.Range(0, tensors).Select(i =>
            new AdamTensors(t.Uniform($"w{i}", [length]), t.Uniform($"g{i}", [length]), t.Zeros($"m{i}", [length]),
                t.Zeros($"v{i}", [length])))];
        var settings = new AdamSettings(1e-2f, 0.9, 0.999, 1e-8f, 0.01f, Decoupled: true, Step: 0, GradientScale: 1)
        {
            // A level of a model has measured the norm, to clip by it.
            GradientIsBounded = true,
        };
        return () =>
        {
            settings = settings with { Step = settings.Step + 1 };
            AdamCommit.Apply(memories, settings);
        };
    }

    private static Action TimeNewtonSchulz(BenchTensors t)
    {
        Tensor g = t.Uniform("g", [1024, 1024]), x = t.Zeros("x", [1024, 1024]);
        return () => NewtonSchulz.Orthogonalize(g, x, NewtonSchulzSteps);
    }

    private static Action TimeCrossEntropy(BenchTensors t)
    {
        Tensor logits = t.Uniform("logits", [Tokens, Classes], -4, 4), dLogits = t.Zeros("dlogits", [Tokens, Classes]);
        IndexTensor targets = t.Below("targets", [Tokens], Classes);
        Tensor losses = t.Zeros("losses", [Tokens]);
        return () => CrossEntropy.WithGradient(logits, targets, 1f / Tokens, losses, dLogits);
    }
}
