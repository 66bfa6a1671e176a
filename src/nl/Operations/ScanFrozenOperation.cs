namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>scan-frozen</c>, docs/specification.md, section 1, with the gradient frozen at each chunk's start: as <c>scan</c> with the
/// target v [B,T,H,Dv] in place of u, and theta [B,T,H]; settings scale, read, chunk (part of the meaning), objective l2 or dot and
/// optionally phase, the tokens of the first chunk that came before, with chunk_start [B,H,Dk,Dv] where that is not 0. With the
/// setting phase it gives chunk_start too, with which a sequence continues.
/// </summary>
internal sealed class ScanFrozenOperation : Operation
{
    public override string Name => "scan-frozen";

    public override void Run(OperationRun run)
    {
        ScanSettings settings = ScanCase.FrozenSettings(run);
        ScanInputs inputs = ScanCase.Inputs(run, settings);
        OperationCall call = ScanTensors.Validate(inputs, settings);
        ScanOutputs outputs = ScanTensors.Outputs.Make(call, run.Empty, optional: run.HasSetting("phase"));
        Scan.Forward(inputs, settings, outputs);
        run.Outputs(ScanTensors.Outputs, outputs);
    }
}
