namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>scan</c>, docs/specification.md, section 1. q k [B,T,H,Dk], u [B,T,H,Dv]; optional log_alpha erase mu [B,T,H], s0 p0 [B,H,Dk,Dv];
/// settings scale, read and optionally chunk, which changes no result. Gives o, s and, with mu, p.
/// </summary>
internal sealed class ScanOperation : Operation
{
    public override string Name => "scan";

    public override void Run(OperationRun run)
    {
        ScanInputs inputs = ScanCase.Inputs(run, "u");
        ScanOutputs outputs = ScanCase.Outputs(run, inputs);
        Scan.Forward(inputs, ScanCase.Settings(run), outputs);
        ScanCase.Give(run, outputs);
    }
}

/// <summary>What the scan operations share.</summary>
internal static class ScanCase
{
    public static ScanInputs Inputs(OperationRun run, string write, bool theta = false)
    {
        Tensor? mu;
        return new ScanInputs
        {
            Q = run.Input("q", "B T H Dk"),
            K = run.Input("k", "B T H Dk"),
            U = run.Input(write, "B T H Dv"),
            LogAlpha = run.OptionalInput("log_alpha", "B T H"),
            Erase = run.OptionalInput("erase", "B T H"),
            Theta = theta ? run.Input("theta", "B T H") : null,
            Mu = mu = run.OptionalInput("mu", "B T H"),
            S0 = run.OptionalInput("s0", "B H Dk Dv"),
            // Without momentum there is no P; left unread it is reported as not taken.
            P0 = mu is null ? null : run.OptionalInput("p0", "B H Dk Dv"),
        };
    }

    public static ScanSettings Settings(OperationRun run) =>
        new(run.Number("scale"), run.Read(), ScanWrite.Given, run.OptionalCount("chunk", ScanSettings.DefaultChunk, ScanSettings.MaxChunk));

    /// <summary>Those of the rules whose gradient is frozen at the chunk's start.</summary>
    public static ScanSettings FrozenSettings(OperationRun run) => new(
        run.Number("scale"),
        run.ReadOfChunks(),
        run.Choice("objective", ("l2", ScanWrite.FrozenL2), ("dot", ScanWrite.Scaled)),
        run.Count("chunk", ScanSettings.MaxChunk))
    {
        Phase = run.OptionalWhole("phase"),
    };

    public static Tensor? ChunkStart(OperationRun run, ScanSettings settings) =>
        run.InputIf(settings.Phase > 0, "chunk_start", "B H Dk Dv");

    public static ScanOutputs Outputs(OperationRun run, in ScanInputs inputs) => new()
    {
        O = run.Empty(run.Shape("B T H Dv")),
        S = run.Empty(run.Shape("B H Dk Dv")),
        P = inputs.Mu is null ? null : run.Empty(run.Shape("B H Dk Dv")),
    };

    public static void Give(OperationRun run, in ScanOutputs outputs)
    {
        run.Output("o", outputs.O);
        run.Output("s", outputs.S);
        if (outputs.P is { } p)
            run.Output("p", p);
    }
}
