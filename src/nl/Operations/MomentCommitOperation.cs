namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>moment-commit</c>, one commit of an elementwise memory of gradients with g' = gradient_scale g:
/// m ← keep1 m + write1 g'; v ← keep2 v + write2 g'²; w ← start − (decay start + lr (read_moment m + read_gradient g')/(√v + eps)).
/// g [N], optional w, m, v, start [N]; settings lr, and optionally gradient_scale (1), keep1, write1, keep2, write2, read_moment (0),
/// read_gradient (1), decay, eps (0), clear_gradient (false). Gives w, m and v where the case has them, change [2] with w, and g with
/// clear_gradient.
/// </summary>
internal sealed class MomentCommitOperation : Operation
{
    public override string Name => "moment-commit";

    public override void Run(OperationRun run)
    {
        Tensor g = run.Own(run.Input("g", "N").Clone());
        Tensor? w = InOut("w"), m = InOut("m"), v = InOut("v");
        var settings = new MomentSettings
        {
            LearningRate = run.Number("lr"),
            GradientScale = run.OptionalNumber("gradient_scale", 1),
            Keep1 = run.OptionalNumber("keep1", 0),
            Write1 = run.OptionalNumber("write1", 0),
            Keep2 = run.OptionalNumber("keep2", 0),
            Write2 = run.OptionalNumber("write2", 0),
            ReadMoment = run.OptionalNumber("read_moment", 0),
            ReadGradient = run.OptionalNumber("read_gradient", 1),
            Decay = run.OptionalNumber("decay", 0),
            Epsilon = run.OptionalNumber("eps", 0),
            ClearGradient = run.Flag("clear_gradient"),
        };
        var change = new CommitChange[1];
        MomentCommit.Apply([new MomentTensors(w, g, m, v, run.OptionalInput("start", "N"))], [settings], change);
        run.OptionalOutput("w", w);
        run.OptionalOutput("m", m);
        run.OptionalOutput("v", v);
        if (w is not null)
            run.Output("change", [2], [(float)change[0].Change, (float)change[0].Value]);
        if (settings.ClearGradient)
            run.Output("g", g);

        Tensor? InOut(string name) => run.OptionalInput(name, "N") is { } before ? run.Own(before.Clone()) : null;
    }
}
