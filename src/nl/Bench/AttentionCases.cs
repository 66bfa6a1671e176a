namespace NestedLearning.CommandLine.Bench;

/// <summary>Softmax causal attention, B = 2, H = 8, T = 2048, D = 64.</summary>
internal static class AttentionCases
{
    private const string AttentionShape = "B=2 H=8 T=2048 D=64";
    private const int Time = 2048, Dim = 64;
    private const double Heads = 2 * 8;
    private static readonly Shape s_tokens = [2, Time, 8, Dim];
    private static readonly AttentionSettings s_settings = new(0.125f);

    public static IReadOnlyList<BenchCase> All { get; } =
    [
        // Q Kᵀ, P V
        new("attention", $"softmax causal attention, forward, {AttentionShape}", Flops(2), Bytes(4), Forward),
        // and back: once more Q Kᵀ; dO Vᵀ, Pᵀ dO, dS K, dSᵀ Q
        new("attention-backward", $"softmax causal attention, forward and backward, {AttentionShape}", Flops(2 + 5), Bytes(4 + 5),
            ForwardAndBackward),
    ];

    // So many products with a triangle of T × T.
    private static double Flops(int products) => Heads * products * Time * (Time + 1) * Dim;

    private static double Bytes(int tensors) => Heads * tensors * Time * Dim * sizeof(float);

    private static AttentionInputs Inputs(BenchTensors t) => new()
    {
        Q = t.Uniform("q", s_tokens), K = t.Uniform("k", s_tokens), V = t.Uniform("v", s_tokens),
    };

    private static Action Forward(BenchTensors t)
    {
        AttentionInputs inputs = Inputs(t);
        var outputs = new AttentionOutputs { O = t.Zeros("o", s_tokens) };
        return () => Attention.Forward(inputs, s_settings, outputs);
    }

    private static Action ForwardAndBackward(BenchTensors t)
    {
        AttentionInputs inputs = Inputs(t);
        var outputs = new AttentionOutputs { O = t.Zeros("o", s_tokens), LogSums = t.Zeros("log_sums", [2, Time, 8]) };
        Tensor upstream = t.Uniform("do", s_tokens);
        var gradients = new AttentionGradients { Q = t.Zeros("dq", s_tokens), K = t.Zeros("dk", s_tokens), V = t.Zeros("dv", s_tokens) };
        return () =>
        {
            Attention.Forward(inputs, s_settings, outputs);
            Attention.Backward(inputs, s_settings, outputs, upstream, gradients);
        };
    }
}
