namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>ridge</c>, docs/specification.md, section 8: x [T,D], y [T,V]; settings delta and forget, λ. From W = 0 and P = I/δ it gives
/// o [T,V], the answers before each sample was learned, and w [D,V] and p [D,D] after the last.
/// </summary>
internal sealed class RidgeOperation : Operation
{
    public override string Name => "ridge";

    public override void Run(OperationRun run)
    {
        Tensor x = run.Input("x", "T D"), y = run.Input("y", "T V"), o = run.Empty(y.Shape);
        using var state = new RidgeState(run.Device, run.Axis("D"), run.Axis("V"), run.PreciseNumber("delta"));
        Ridge.Learn(state, x, y, run.PreciseNumber("forget"), o);
        run.Output("o", o);
        run.Output("w", state.W);
        run.Output("p", run.Shape("D D"), Array.ConvertAll(state.Covariance(), e => (float)e));
    }
}
