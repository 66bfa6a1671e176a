namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>scan-backward</c> and <c>scan-frozen-backward</c>: the inputs of <c>scan</c> or <c>scan-frozen</c> and, each optional and then
/// zero, the gradients do [B,T,H,Dv], ds dp dchunk_start [B,H,Dk,Dv] of its results. Gives d and the name of every input that the
/// case has.
/// </summary>
internal sealed class ScanBackwardOperation(bool frozen) : Operation
{
    public override string Name => frozen ? "scan-frozen-backward" : "scan-backward";

    public override double Tolerance => GradientTolerance;

    public override void Run(OperationRun run)
    {
        ScanSettings settings = frozen ? ScanCase.FrozenSettings(run) : ScanCase.Settings(run);
        ScanInputs inputs = ScanCase.Inputs(run, settings);
        OperationCall call = ScanTensors.Validate(inputs, settings);
        ScanOutputGradients upstream = run.Inputs(ScanTensors.Outputs.Gradients, _ => call.Held);
        ScanSaved saved = ScanTensors.Saved.Make(call, run.Empty);
        ScanGradients gradients = run.Gradients(ScanTensors.Inputs, inputs);
        Scan.Forward(inputs, settings, ScanTensors.Outputs.Make(call, run.Empty, optional: false) with { Saved = saved });
        Scan.Backward(inputs, settings, saved, upstream, gradients);
        run.Outputs(ScanTensors.Inputs.Gradients, gradients, name => ScanCase.Naming(settings, name));
    }
}
