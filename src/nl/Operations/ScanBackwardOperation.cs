namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>scan-backward</c>: the inputs of <c>scan</c> and, each optional and then zero, the gradients do [B,T,H,Dv],
/// ds dp [B,H,Dk,Dv] of its results. Gives d and the name of every input that the case has.
/// </summary>
internal sealed class ScanBackwardOperation : Operation
{
    public override string Name => "scan-backward";

    public override double Tolerance => GradientTolerance;

    public override void Run(OperationRun run)
    {
        ScanInputs inputs = ScanCase.Inputs(run, "u");
        ScanSettings settings = ScanCase.Settings(run);
        var upstream = new ScanOutputGradients(
            run.OptionalInput("do", "B T H Dv"),
            run.OptionalInput("ds", "B H Dk Dv"),
            inputs.Mu is null ? null : run.OptionalInput("dp", "B H Dk Dv"));

        Shape saved = Scan.SavedShape(inputs, settings);
        ScanOutputs outputs = ScanCase.Outputs(run, inputs) with
        {
            Saved = new ScanSaved(run.Empty(saved), inputs.Mu is null ? null : run.Empty(saved)),
        };
        var gradients = new ScanGradients
        {
            Q = Like(inputs.Q),
            K = Like(inputs.K),
            U = Like(inputs.U),
            LogAlpha = Like(inputs.LogAlpha),
            Erase = Like(inputs.Erase),
            Mu = Like(inputs.Mu),
            S0 = Like(inputs.S0),
            P0 = Like(inputs.P0),
        };

        Scan.Forward(inputs, settings, outputs);
        Scan.Backward(inputs, settings, outputs.Saved, upstream, gradients);

        Give("dq", gradients.Q);
        Give("dk", gradients.K);
        Give("du", gradients.U);
        Give("dlog_alpha", gradients.LogAlpha);
        Give("derase", gradients.Erase);
        Give("dmu", gradients.Mu);
        Give("ds0", gradients.S0);
        Give("dp0", gradients.P0);

        Tensor? Like(Tensor? input) => input is null ? null : run.Empty(input.Shape);

        void Give(string name, Tensor? gradient)
        {
            if (gradient is not null)
                run.Output(name, gradient);
        }
    }
}
