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
        ScanInputs inputs = ScanCase.Inputs(run, "v", theta: true);
        ScanSettings settings = ScanCase.FrozenSettings(run);
        inputs = inputs with { ChunkStart = ScanCase.ChunkStart(run, settings) };
        ScanOutputs outputs = ScanCase.Outputs(run, inputs);
        if (run.HasSetting("phase") && settings.HasMeaningfulChunk)
            outputs = outputs with { ChunkStart = run.Empty(run.Shape("B H Dk Dv")) };
        Scan.Forward(inputs, settings, outputs);
        ScanCase.Give(run, outputs);
        run.OptionalOutput("chunk_start", outputs.ChunkStart);
    }
}
