namespace NestedLearning.CommandLine.Bench;

/// <summary>
/// The scans, B = 2, H = 8, T = 2048, D = 64. Their flops are those of the token form: every product of a token with a
/// D × D matrix, and every pass over one, is counted; "backward" is both directions, with the states computed again.
/// </summary>
internal static class ScanCases
{
    private const string ScanShape = "B=2 H=8 T=2048 D=64";
    private const int Dim = 64;
    private const double Tokens = 2.0 * 2048 * 8;
    private static readonly Shape s_tokens = [2, 2048, 8, Dim], s_coefficients = [2, 2048, 8];
    private static readonly ScanSettings s_settings = new(0.125f, ScanRead.After, ScanWrite.Given, ScanSettings.DefaultChunk);

    public static IReadOnlyList<BenchCase> All { get; } =
    [
        // k S, kᵀw, q S
        new("scan-delta", $"delta rule, forward, {ScanShape}", Flops(6), Bytes(4), t => Forward(t, Delta(t), s_settings)),
        // and back: qᵀdo, S do, k dS, w dS, kᵀdr, S dr; once more kᵀw
        new("scan-delta-backward", $"delta rule, forward and backward, {ScanShape}", Flops(6 + 14), Bytes(4 + 7), t =>
            ForwardAndBackward(t, Delta(t), s_settings)),
        // α S + kᵀu, q S; and back: qᵀdo, S do, k dS, u dS, ⟨dS, S⟩, α dS; once more α S + kᵀu
        new("scan-linear-backward", $"linear attention with decay, forward and backward, {ScanShape}", Flops(5 + 14), Bytes(4 + 7), t =>
            ForwardAndBackward(t, Linear(t), s_settings)),
        // k S, μ P + kᵀw, α S + P, q S; and back: qᵀdo, S do, dP + dS, ⟨dS, S⟩, k dP, w dP, ⟨dP, P⟩, S dr,
        // α dS + kᵀdr, μ dP; once more μ P + kᵀw, α S + P
        new("scan-titans-backward", $"Titans with momentum, exact, forward and backward, {ScanShape}", Flops(9 + 24), Bytes(4 + 7), t =>
            ForwardAndBackward(t, Titans(t), s_settings with
        {
            Write = ScanWrite.Scaled,
        })),
    ];

    /// <summary>One token, B = 1, H = 8, D = 64, on a state that stays in cache.</summary>
    public static BenchCase Token { get; } = new("scan-token", "one token of a scan, B=1 H=8 D=64", 8.0 * 6 * Dim * Dim, 0, t =>
    {
        ScanInputs inputs = Delta(t, [1, 1, 8, Dim], [1, 1, 8]);
        Tensor state = t.Zeros("s", Scan.StateShape(inputs));
        var outputs = new ScanOutputs { O = t.Zeros("o", inputs.U.Shape), S = state };
        return () => Scan.Forward(inputs with { S0 = state }, s_settings, outputs);
    });

    private static double Flops(int perElementOfState) => Tokens * perElementOfState * Dim * Dim;

    // So many tensors of [B, T, H, D], each moved once.
    private static double Bytes(int tensors) => Tokens * tensors * Dim * sizeof(float);

    private static ScanInputs Delta(BenchTensors t) => Delta(t, s_tokens, s_coefficients);

    /// <summary>The delta rule for tokens [B, T, H, D].</summary>
    internal static ScanInputs Delta(BenchTensors t, Shape tokens, Shape coefficients) =>
        Given(t, tokens) with { Erase = t.Uniform("erase", coefficients, 0, 1) };

    private static ScanInputs Linear(BenchTensors t) =>
        Given(t, s_tokens) with { LogAlpha = t.Uniform("log_alpha", s_coefficients, -0.1f, 0) };

    private static ScanInputs Titans(BenchTensors t)
    {
        Tensor theta = t.Uniform("theta", s_coefficients, 0, 0.5f);
        return Linear(t) with { Mu = t.Uniform("mu", s_coefficients, 0, 0.9f), Theta = theta, Erase = theta };
    }

    // Keys of length about 1, as a model normalises them: with longer ones the erase would make the memory grow.
    private static ScanInputs Given(BenchTensors t, Shape tokens)
    {
        float key = MathF.Sqrt(3f / tokens.Last);
        return new ScanInputs { Q = t.Uniform("q", tokens), K = t.Uniform("k", tokens, -key, key), U = t.Uniform("u", tokens) };
    }

    private static ScanOutputs Outputs(BenchTensors t, ScanInputs inputs, ScanSaved saved) => new()
    {
        O = t.Zeros("o", inputs.U.Shape),
        S = t.Zeros("s", Scan.StateShape(inputs)),
        P = inputs.Mu is null ? null : t.Zeros("p", Scan.StateShape(inputs)),
        Saved = saved,
    };

    internal static Action Forward(BenchTensors t, ScanInputs inputs, ScanSettings settings)
    {
        ScanOutputs outputs = Outputs(t, inputs, default);
        return () => Scan.Forward(inputs, settings, outputs);
    }

    internal static Action ForwardAndBackward(BenchTensors t, ScanInputs inputs, ScanSettings settings)
    {
        Shape states = Scan.SavedShape(inputs, settings);
        ScanOutputs outputs = Outputs(t, inputs,
            new ScanSaved(t.Zeros("states", states), inputs.Mu is null ? null : t.Zeros("momenta", states)));
        var upstream = new ScanOutputGradients(t.Uniform("do", inputs.U.Shape), null, null);
        var gradients = new ScanGradients
        {
            Q = Gradient("dq", inputs.Q),
            K = Gradient("dk", inputs.K),
            U = Gradient("du", inputs.U),
            LogAlpha = Gradient("dlog_alpha", inputs.LogAlpha),
            Erase = Gradient("derase", inputs.Erase),
            Mu = Gradient("dmu", inputs.Mu),
            Theta = Gradient("dtheta", inputs.Theta),
        };
        return () =>
        {
            Scan.Forward(inputs, settings, outputs);
            Scan.Backward(inputs, settings, outputs.Saved, upstream, gradients);
        };

        Tensor? Gradient(string name, Tensor? input) => input is null ? null : t.Zeros(name, input.Shape);
    }
}
