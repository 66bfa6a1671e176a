using NestedLearning.Models;

namespace NestedLearning.CommandLine.Bench;

/// <summary>
/// Cases of a GPU's size, which tools/gpu_peers.py measures of other libraries under the same names and sizes. Their floors
/// are of bytes alone.
/// </summary>
internal static class LargeCases
{
    /// <summary>The largest divisor: every size is then still a multiple of what its kernels take at once.</summary>
    public const int MaxScale = 64;

    private const int Batch = 8, Heads = 16, NewtonSchulzSteps = 5;

    // Of one tensor in the commits, a matrix of 2048 × 2048 of a model.
    private const int Piece = 1 << 22;

    /// <summary>Every case with its tokens, parameters and sides of matrices divided.</summary>
    public static IReadOnlyList<BenchCase> All(int scale) =>
    [
        Copy((1 << 28) / scale),
        .. Scans(4096 / scale, 64),
        .. Scans(4096 / scale, 128),
        TimeGemm(4096 / scale),
        TimeNewtonSchulz(2048 / scale),
        Hope(2048 / scale, Heads * Math.Max(1, 96 / scale)),
        AdamW("adamw-100m", 24, scale),
        AdamW("adamw-1b", 240, scale),
    ];

    private static BenchCase Copy(int length) => new("copy", "copy", 0, 2.0 * length * sizeof(float), t =>
    {
        Tensor from = t.Zeros("from", [length]), to = t.Zeros("to", [length]);
        return () => to.CopyFrom(from);
    })
    {
        Size = $"{length} floats",
    };

    private static IEnumerable<BenchCase> Scans(int time, int dim)
    {
        string size = $"B={Batch} H={Heads} T={time} D={dim}";
        Shape tokens = [Batch, time, Heads, dim], coefficients = [Batch, time, Heads];
        double perState = (double)Batch * time * Heads * dim * dim, perTensor = (double)Batch * time * Heads * dim * sizeof(float);
        var settings = new ScanSettings(1 / MathF.Sqrt(dim), ScanRead.After, ScanWrite.Given, ScanSettings.DefaultChunk);

        // As ScanCases counts them; decay is once more a pass over the state, and backward α dS and ⟨dS, S⟩.
        yield return Scan("scan-delta", "delta rule, forward", 6, 4, t => ScanCases.Forward(t, Delta(t), settings));
        yield return Scan("scan-delta-backward", "delta rule, forward and backward", 6 + 14, 4 + 7, t =>
            ScanCases.ForwardAndBackward(t, Delta(t), settings));
        yield return Scan("scan-gated", "gated delta rule, forward", 7, 4, t => ScanCases.Forward(t, Gated(t), settings));
        yield return Scan("scan-gated-backward", "gated delta rule, forward and backward", 7 + 18, 4 + 7, t =>
            ScanCases.ForwardAndBackward(t, Gated(t), settings));

        BenchCase Scan(string name, string title, int passes, int tensors, Func<BenchTensors, Action> prepare) =>
            new($"{name}-{dim}", title, passes * perState, tensors * perTensor, prepare) { Size = size, HasProducts = true };

        ScanInputs Delta(BenchTensors t) => ScanCases.Delta(t, tokens, coefficients);

        ScanInputs Gated(BenchTensors t) => Delta(t) with { LogAlpha = t.Uniform("log_alpha", coefficients, -0.1f, 0) };
    }

    private static BenchCase TimeGemm(int side) =>
        new("gemm", "matrix product", 2.0 * side * side * side, 3.0 * side * side * sizeof(float), t =>
    {
        var product = new GemmArguments
        {
            A = t.Uniform("a", [side, side]), B = t.Uniform("b", [side, side]), C = t.Zeros("c", [side, side]),
        };
        return () => Gemm.Multiply(product);
    })
        {
            Size = $"{side}³",
            HasProducts = true,
        };

    // X Xᵀ and A² are symmetric: half a product each.
    private static BenchCase TimeNewtonSchulz(int side) =>
        new("newton-schulz", "Newton–Schulz, 5 steps", NewtonSchulzSteps * 2 * 2.0 * side * side * side, 2.0 * side * side * sizeof(float),
        t =>
        {
            Tensor g = t.Uniform("g", [side, side]), x = t.Zeros("x", [side, side]);
            return () => NewtonSchulz.Orthogonalize(g, x, NewtonSchulzSteps);
        })
        {
            Size = $"{side}²",
            HasProducts = true,
        };

    // Reads w, g, m, v and writes w, m, v.
    private static BenchCase AdamW(string name, int pieces, int scale)
    {
        int length = Piece / scale;
        return new(name, "AdamW commit", 0, 7.0 * pieces * length * sizeof(float), t =>
        {
            Tensor random = t.Uniform("random", [length]);
            AdamTensors[] memories = [.. Enumerable.Range(0, pieces).Select(i =>
                new AdamTensors(t.Copy($"w{i}", random), t.Copy($"g{i}", random), t.Zeros($"m{i}", [length]), t.Zeros($"v{i}", [length])))];
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
        })
        {
            Size = $"{pieces} tensors of {length}",
        };
    }

    // A block as wide as those of a Hope of 760M parameters: forward, backward and the commits that are due.
    private static BenchCase Hope(int time, int dim)
    {
        const int Sequences = 4;
        return new("hope-block", "Hope, one block, a step of learning", 0, 0, t =>
        {
            var model = t.Own(new SequenceModel(t.Device, new ModelConfiguration
            {
                Dim = dim,
                Heads = Heads,
                Blocks = 1,
                ContextLength = time,
                Levels = [new("fast", time, 1e-4f, 4 * dim / 3), new("middle", 4 * time, 1e-4f, 4 * dim / 3),
                    new("slow", 16 * time, 1e-4f, 4 * dim / 3)],
            }));
            IndexTensor tokens = t.Below("tokens", [Sequences, time], 256);
            Tensor seed = t.Zeros("seed", [Sequences, time]);
            seed.Fill(1f / Sequences);
            return () =>
            {
                using var tape = new Tape(t.Device);
                using SequenceState state = model.NewState(Sequences);
                (Variable logits, SequenceState next) = model.Forward(tape, tokens, state);
                using (next)
                {
                    Variable losses = tape.CrossEntropy(logits, tokens);
                    model.Levels.Learn(time, () => tape.Backward(losses, seed));
                }
            };
        })
        {
            Size = $"B={Sequences} T={time} D={dim} H={Heads}",
            Tokens = Sequences * time,
            HasProducts = true,
        };
    }
}
