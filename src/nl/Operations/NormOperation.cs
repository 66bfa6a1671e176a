namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>norm</c> of each row: x [R,D], optional gain [D] and bias [D]; settings kind rms, layer or l2, and eps. Gives y.
/// </summary>
internal sealed class NormOperation : Operation
{
    public override string Name => "norm";

    public override void Run(OperationRun run)
    {
        Tensor x = run.Input("x", "R D"), y = run.Empty(x.Shape);
        NormKind kind = Kind(run);
        Norm.Forward(kind, x, run.OptionalInput("gain", "D"), run.OptionalInput("bias", "D"), run.Number("eps"), y);
        run.Output("y", y);
    }

    public static NormKind Kind(OperationRun run) =>
        run.Choice("kind", ("rms", NormKind.Rms), ("layer", NormKind.Layer), ("l2", NormKind.L2));
}

/// <summary>
/// <c>norm-backward</c>: x [R,D], dy [R,D], optional gain [D]; settings kind and eps. Gives dx; with a gain dgain and, of the
/// layer norm, dbias, each added to the input of its name where the case has one.
/// </summary>
internal sealed class NormBackwardOperation : Operation
{
    public override string Name => "norm-backward";

    public override double Tolerance => GradientTolerance;

    public override void Run(OperationRun run)
    {
        Tensor x = run.Input("x", "R D"), dy = run.Input("dy", "R D"), dx = run.Empty(x.Shape);
        NormKind kind = NormOperation.Kind(run);
        Tensor? gain = run.OptionalInput("gain", "D");
        Tensor? dGain = gain is null ? null : run.Accumulator("dgain", "D");
        Tensor? dBias = kind == NormKind.Layer ? run.Accumulator("dbias", "D") : null;
        Norm.Backward(kind, x, gain, run.Number("eps"), dy, dx, dGain, dBias);
        run.Output("dx", dx);
        run.OptionalOutput("dgain", dGain);
        run.OptionalOutput("dbias", dBias);
    }
}
