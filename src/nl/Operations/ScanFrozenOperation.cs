namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>scan-frozen</c>, spec section 1 with the gradient frozen at each chunk's start: as <c>scan</c> with the target v
/// [B,T,H,Dv] in place of u and theta [B,T,H]; settings scale, read, chunk (part of the meaning) and objective l2 or dot.
/// </summary>
internal sealed class ScanFrozenOperation : Operation
{
    public override string Name => "scan-frozen";

    public override void Run(OperationRun run)
    {
        ScanInputs inputs = ScanCase.Inputs(run, "v", theta: true);
        ScanOutputs outputs = ScanCase.Outputs(run, inputs);
        var settings = new ScanSettings(
            run.Number("scale"),
            run.ReadOfChunks(),
            run.Choice("objective", ("l2", ScanWrite.FrozenL2), ("dot", ScanWrite.Scaled)),
            run.Count("chunk", ScanSettings.MaxChunk));
        Scan.Forward(inputs, settings, outputs);
        ScanCase.Give(run, outputs);
    }
}
