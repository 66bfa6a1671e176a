namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>adam</c> (L2) and <c>adamw</c> (decoupled decay), spec section 3: w [r,c], g [steps,r,c], moments from zero;
/// settings lr, beta1, beta2, eps, weight_decay. Gives w, m and v after the last step.
/// </summary>
internal sealed class AdamOperation(string name, bool decoupled) : Operation
{
    public override string Name => name;

    public override void Run(OperationRun run)
    {
        Tensor w = run.Input("w", "r c");
        Tensor gradients = run.Input("g", "steps r c");
        var settings = new AdamSettings(
            run.Number("lr"), run.PreciseNumber("beta1"), run.PreciseNumber("beta2"), run.Number("eps"), run.Number("weight_decay"),
            decoupled, Step: 1, GradientScale: 1);

        float[] all = gradients.ToArray();
        Tensor g = run.Empty(w.Shape), m = run.Zeros(w.Shape), v = run.Zeros(w.Shape);
        for (int step = 0; step < run.Axis("steps"); step++)
        {
            g.CopyFrom(all.AsSpan(step * w.Count, w.Count));
            Dense.AdamCommit(w, g, m, v, settings with { Step = step + 1 });
        }

        run.Output("w", w);
        run.Output("m", m);
        run.Output("v", v);
    }
}
