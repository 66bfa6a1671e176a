namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>mixture</c>, docs/specification.md, section 8: log_p [T,k], optional w [k], 1/k unless given; setting share. Gives o [T], the
/// mixture's log probability of each observation, and w after the last.
/// </summary>
internal sealed class MixtureOperation : Operation
{
    public override string Name => "mixture";

    public override void Run(OperationRun run)
    {
        Tensor logP = run.Input("log_p", "T k"), o = run.Empty(run.Shape("T"));
        Tensor w = run.Own(run.OptionalInput("w", "k")?.Clone() ?? run.Device.Full(run.Shape("k"), 1f / run.Axis("k")));
        Mixture.Mix(logP, w, run.Number("share"), o);
        run.Output("o", o);
        run.Output("w", w);
    }
}
