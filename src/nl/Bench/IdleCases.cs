namespace NestedLearning.CommandLine.Bench;

/// <summary>
/// What is left alone for long, and what saturates: numbers that decay to below the least normal float32, where Intel's
/// processors become many times slower if nothing flushes them. Each is measured beside its twin, the same work on ordinary numbers.
/// </summary>
internal static class IdleCases
{
    private const int Tokens = 100_000, Segment = 1000, Heads = 8, Dim = 64;
    private const int Commits = 10_000, Rows = 320, Columns = 64;
    private const float IdleDecay = 0.01f;

    // So many times the ordinary weights, for pre-activations of deviation 6 in place of 1/3; and a gradient of a mean over tokens.
    private const float WideWeights = 18, MeanGradient = 1f / 2048;

    public static IReadOnlyList<BenchCase> All { get; } =
    [
        // α S + kᵀu, q S
        new("decay-idle", $"a memory that decays, {Tokens} tokens after its last write, B=1 H={Heads} D={Dim}",
            5.0 * Tokens * Heads * Dim * Dim, 0, t => Stream(t, IdleDecay))
        {
            Twin = t => Stream(t, 0),
        },
        // Adam's 14 operations an element, the moments' 10.
        new("moments-idle", $"{Commits} commits of Adam and of moments, zero gradients in nine rows of ten, {Rows}×{Columns}",
            24.0 * Commits * Rows * Columns, 0, t => Commit(t, everyRow: false))
        {
            Twin = t => Commit(t, everyRow: true),
        },
        DenseCases.MlpBackward("mlp-wide", "residual MLP, forward and backward, pre-activations of deviation 6", t =>
            DenseCases.MlpForwardAndBackward(t, WideWeights, MeanGradient)) with
        {
            Twin = t => DenseCases.MlpForwardAndBackward(t, 1, MeanGradient),
        },
    ];

    // A stream in segments without writes; log α between −decay and 0, so that all is below 2⁻¹²⁶ after a sixth of it.
    private static Action Stream(BenchTensors t, float decay)
    {
        Shape tokens = [1, Segment, Heads, Dim];
        var inputs = new ScanInputs
        {
            Q = t.Uniform("q", tokens),
            K = t.Uniform("k", tokens, -0.2f, 0.2f),
            U = t.Zeros("u", tokens),
            LogAlpha = t.Uniform("log_alpha", [1, Segment, Heads], -decay, 0),
        };
        Tensor start = t.Uniform("start", Scan.StateShape(inputs)), state = t.Zeros("state", start.Shape);
        var settings = new ScanSettings(0.125f, ScanRead.After, ScanWrite.Given, ScanSettings.DefaultChunk);
        var outputs = new ScanOutputs { O = t.Zeros("o", tokens), S = state };
        return () =>
        {
            state.CopyFrom(start);
            for (int token = 0; token < Tokens; token += Segment)
                Scan.Forward(inputs with { S0 = state }, settings, outputs);
        };
    }

    private static Action Commit(BenchTensors t, bool everyRow)
    {
        Shape shape = [Rows, Columns];
        float[] gradient = new float[shape.ElementCount];
        new CounterRandom(seed: 3).FillUniform(gradient, -1, 1);
        for (int i = 0; !everyRow && i < gradient.Length; i++)
            gradient[i] = i / Columns % 10 == 0 ? gradient[i] : 0;
        Tensor g = t.Own(t.Device.From(shape, gradient)), first = t.Uniform("first", shape), second = t.Uniform("second", shape, 0, 1);
        Tensor w = t.Uniform("w", shape), m = t.Zeros("m", shape), v = t.Zeros("v", shape);
        Tensor w2 = t.Uniform("w2", shape), m2 = t.Zeros("m2", shape), v2 = t.Zeros("v2", shape);
        var moments = new MomentSettings
        {
            LearningRate = 1e-4f, Keep1 = 0.9f, Write1 = 0.1f, Keep2 = 0.95f, Write2 = 0.05f, ReadMoment = 1, Epsilon = 1e-8f,
            GradientIsBounded = true,
        };
        var adam = new AdamSettings(1e-4f, 0.9, 0.999, 1e-8f, 0.01f, Decoupled: true, Step: 0, GradientScale: 1)
        {
            GradientIsBounded = true,
        };
        AdamTensors[] adamTensors = [new(w, g, m, v)];
        return () =>
        {
            foreach (Tensor moment in (ReadOnlySpan<Tensor>)[m, m2])
                moment.CopyFrom(first);
            foreach (Tensor moment in (ReadOnlySpan<Tensor>)[v, v2])
                moment.CopyFrom(second);
            for (int step = 1; step <= Commits; step++)
            {
                AdamCommit.Apply(adamTensors, adam with { Step = step });
                MomentCommit.Apply(new MomentTensors(w2, g, m2, v2), moments);
            }
        };
    }
}
