namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>gemm-adam</c>, a weight's gradient xᵀ dy and its first step of Adam in one: x [R,M], dy [R,N], w [M,N], optional accumulated
/// [M,N], which is added to the gradient; moments from zero; settings as of <c>adam</c>, and decoupled true or false. Gives w, m and
/// v, with accumulated also what is left of it.
/// </summary>
internal sealed class GemmAdamOperation : Operation
{
    public override string Name => "gemm-adam";

    public override void Run(OperationRun run)
    {
        Tensor x = run.Input("x", "R M"), dy = run.Input("dy", "R N"), w = run.Own(run.Input("w", "M N").Clone());
        Tensor? given = run.OptionalInput("accumulated", "M N"), accumulated = given is null ? null : run.Own(given.Clone());
        AdamSettings settings = AdamOperation.Settings(run, run.Choice("decoupled", ("true", true), ("false", false)));
        Tensor m = AdamOperation.Moment(run, w, settings), v = AdamOperation.Moment(run, w, settings);
        GemmAdamCommit.Apply(x, dy, accumulated, w, m, v, settings);
        run.Output("w", w);
        AdamOperation.GiveMoments(run, w, m, v, settings);
        run.OptionalOutput("accumulated", accumulated);
    }
}
