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
        ScanSettings settings = ScanCase.Settings(run);
        ScanInputs inputs = ScanCase.Inputs(run, settings);
        ScanOutputs outputs = ScanTensors.Outputs.Make(ScanTensors.Validate(inputs, settings), run.Empty);
        Scan.Forward(inputs, settings, outputs);
        run.Outputs(ScanTensors.Outputs, outputs);
    }
}

/// <summary>What the scan operations share.</summary>
internal static class ScanCase
{
    public static ScanInputs Inputs(OperationRun run, ScanSettings settings) =>
        run.Inputs(ScanTensors.Inputs, inputs => ScanTensors.Held(inputs, settings), name => Naming(settings, name));

    /// <summary>The target of a frozen rule is v, as in the equations.</summary>
    public static string Naming(ScanSettings settings, string name) =>
        settings.Write == ScanWrite.Given ? name : name switch { "u" => "v", "du" => "dv", _ => name };

    public static ScanSettings Settings(OperationRun run) =>
        run.Flags(new ScanSettings(
            run.Number("scale"), run.Read(), ScanWrite.Given,
            run.OptionalCount("chunk", ScanSettings.DefaultChunk, ScanSettings.MaxChunk)));

    /// <summary>Those of the rules whose gradient is frozen at the chunk's start.</summary>
    public static ScanSettings FrozenSettings(OperationRun run) => run.Flags(new ScanSettings(
        run.Number("scale"),
        run.ReadOfChunks(),
        run.Choice("objective", ("l2", ScanWrite.FrozenL2), ("dot", ScanWrite.Scaled)),
        run.Count("chunk", ScanSettings.MaxChunk))
    {
        Phase = run.OptionalWhole("phase"),
    });
}
