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
        ScanInputs inputs = ScanCase.Inputs(run, frozen ? "v" : "u", theta: frozen);
        ScanSettings settings = frozen ? ScanCase.FrozenSettings(run) : ScanCase.Settings(run);
        if (frozen)
            inputs = inputs with { ChunkStart = ScanCase.ChunkStart(run, settings) };
        var upstream = new ScanOutputGradients(
            run.OptionalInput("do", "B T H Dv"),
            run.OptionalInput("ds", "B H Dk Dv"),
            inputs.Mu is null ? null : run.OptionalInput("dp", "B H Dk Dv"),
            settings.HasMeaningfulChunk ? run.OptionalInput("dchunk_start", "B H Dk Dv") : null);

        Shape saved = Scan.SavedShape(inputs, settings);
        ScanOutputs outputs = ScanCase.Outputs(run, inputs) with
        {
            Saved = new ScanSaved(run.Empty(saved), inputs.Mu is null ? null : run.Empty(saved)),
        };
        var gradients = new ScanGradients
        {
            Q = run.EmptyLike(inputs.Q),
            K = run.EmptyLike(inputs.K),
            U = run.EmptyLike(inputs.U),
            LogAlpha = run.EmptyLike(inputs.LogAlpha),
            Erase = run.EmptyLike(inputs.Erase),
            Theta = run.EmptyLike(inputs.Theta),
            Mu = run.EmptyLike(inputs.Mu),
            S0 = run.EmptyLike(inputs.S0),
            P0 = run.EmptyLike(inputs.P0),
            ChunkStart = run.EmptyLike(inputs.ChunkStart),
        };

        Scan.Forward(inputs, settings, outputs);
        Scan.Backward(inputs, settings, outputs.Saved, upstream, gradients);

        run.OptionalOutput("dq", gradients.Q);
        run.OptionalOutput("dk", gradients.K);
        run.OptionalOutput(frozen ? "dv" : "du", gradients.U);
        run.OptionalOutput("dlog_alpha", gradients.LogAlpha);
        run.OptionalOutput("derase", gradients.Erase);
        run.OptionalOutput("dtheta", gradients.Theta);
        run.OptionalOutput("dmu", gradients.Mu);
        run.OptionalOutput("ds0", gradients.S0);
        run.OptionalOutput("dp0", gradients.P0);
        run.OptionalOutput("dchunk_start", gradients.ChunkStart);
    }
}
