namespace NestedLearning.CommandLine.Bench;

/// <summary>
/// Self-modifying memories and the deep memory, chunks of 64. Their flops are those of the token form, as in <see cref="ScanCases"/>:
/// products of a token with a matrix, and passes over one; "backward" is both directions, with the states computed again.
/// </summary>
internal static class MemoryCases
{
    private const string SelfModifyingShape = "B=2 H=8 T=2048 D=64", DeepShape = "B=2 H=8 T=1024 D=64 N=256";
    private const double SelfModifyingState = 2.0 * 2048 * 8 * 64 * (3 * 64 + 2), DeepState = 2.0 * 1024 * 8 * 2 * 64 * 256;
    private const double SelfModifyingBytes = 2.0 * 2048 * 8 * 64 * sizeof(float), DeepBytes = 2.0 * 1024 * 8 * 64 * sizeof(float);

    public static IReadOnlyList<BenchCase> All { get; } =
    [
        // x S_c (of the other columns than mem), f S_c, k S, α S + kᵀw, q S of mem
        new("self-modifying", $"self-modifying memories, L2, forward, {SelfModifyingShape}", 9 * SelfModifyingState,
            3 * SelfModifyingBytes, t => SelfModify(t, backward: false)),
        // and back: the scan's 14, S_c du, fᵀdu, S_c dy, xᵀdy; once more all but q S
        new("self-modifying-backward", $"self-modifying memories, L2, forward and backward, {SelfModifyingShape}",
            (9 + 20 + 8) * SelfModifyingState, 8 * SelfModifyingBytes, t => SelfModify(t, backward: true)),
        // z and h W1_c, b (half the state), k W, α W + kᵀw, q W
        new("deep-memory", $"deep memory, L2, forward, {DeepShape}", 10 * DeepState, 4 * DeepBytes, t => Deep(t, backward: false)),
        new("deep-memory-backward", $"deep memory, L2, forward and backward, {DeepShape}", (10 + 20 + 9) * DeepState, 11 * DeepBytes,
            t => Deep(t, backward: true)),
    ];

    private static Action SelfModify(BenchTensors t, bool backward)
    {
        Shape tokens = [2, 2048, 8, 64], state = [2, 8, 64, SelfModifyingSettings.StateColumns(64)];
        var settings = new SelfModifyingSettings(64, MemoryObjective.L2, ScanRead.Before, 0.05f, -0.5f, 3, NormalizeValues: true);
        var inputs = new SelfModifyingInputs
        {
            X = t.Uniform("x", tokens), Q = t.Uniform("q", tokens, -0.2f, 0.2f), S0 = t.Uniform("s0", state, -0.2f, 0.2f),
        };
        Tensor? states = backward ? t.Zeros("states", SelfModifying.SavedShape(inputs, settings)) : null;
        var outputs = new SelfModifyingOutputs { O = t.Zeros("o", tokens), S = t.Zeros("s", state), ChunkStates = states };
        if (!backward)
            return () => SelfModifying.Forward(inputs, settings, outputs);
        var upstream = new SelfModifyingOutputGradients(t.Uniform("do", tokens));
        var gradients = new SelfModifyingGradients { X = t.Zeros("dx", tokens), Q = t.Zeros("dq", tokens), S0 = t.Zeros("ds0", state) };
        return () =>
        {
            SelfModifying.Forward(inputs, settings, outputs);
            SelfModifying.Backward(inputs, settings, states!, upstream, gradients);
        };
    }

    private static Action Deep(BenchTensors t, bool backward)
    {
        Shape tokens = [2, 1024, 8, 64], gates = [2, 1024, 8], one = [2, 8, 256, 64], two = [2, 8, 64, 256];
        float key = MathF.Sqrt(3f / 64);
        var settings = new DeepMemorySettings(64, MemoryObjective.L2, ScanRead.After);
        var inputs = new DeepMemoryInputs
        {
            Q = t.Uniform("q", tokens, -key, key),
            K = t.Uniform("k", tokens, -key, key),
            V = t.Uniform("v", tokens),
            LogAlpha = t.Uniform("log_alpha", gates, -0.1f, 0),
            Theta = t.Uniform("theta", gates, 0, 0.02f),
            Erase = t.Uniform("erase", gates, 0, 0.5f),
            W1 = t.Uniform("w1", one, -0.1f, 0.1f),
            W2 = t.Uniform("w2", two, -0.1f, 0.1f),
        };
        DeepMemorySaved saved = backward
            ? new(
                t.Zeros("saved w1", DeepMemory.SavedShape1(inputs, settings)),
                t.Zeros("saved w2", DeepMemory.SavedShape2(inputs, settings)))
            : default;
        var outputs = new DeepMemoryOutputs
        {
            O = t.Zeros("o", tokens), W1 = t.Zeros("end1", one), W2 = t.Zeros("end2", two), Saved = saved,
        };
        if (!backward)
            return () => DeepMemory.Forward(inputs, settings, outputs);
        var upstream = new DeepMemoryOutputGradients { O = t.Uniform("do", tokens) };
        var gradients = new DeepMemoryGradients
        {
            Q = t.Zeros("dq", tokens),
            K = t.Zeros("dk", tokens),
            V = t.Zeros("dv", tokens),
            LogAlpha = t.Zeros("dlog_alpha", gates),
            Theta = t.Zeros("dtheta", gates),
            Erase = t.Zeros("derase", gates),
            W1 = t.Zeros("dw1", one),
            W2 = t.Zeros("dw2", two),
        };
        return () =>
        {
            DeepMemory.Forward(inputs, settings, outputs);
            DeepMemory.Backward(inputs, settings, saved, upstream, gradients);
        };
    }
}
