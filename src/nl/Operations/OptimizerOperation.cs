namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// An optimizer of docs/specification.md, section 3, from an empty memory: w [r,c], g [steps,r,c]; setting lr and those of the
/// optimizer. Gives w and what is asked for of the memory after the last step.
/// </summary>
internal sealed class OptimizerOperation(string name, Func<OperationRun, Optimizer> optimizer, params string[] state) : Operation
{
    public override string Name => name;

    /// <summary><c>delta-momentum</c>: settings alpha, erase. Gives w, m.</summary>
    public static OptimizerOperation DeltaMomentum { get; } = new(
        "delta-momentum",
        run => new DeltaMomentum { Decay = run.PreciseNumber("alpha"), Erase = run.Number("erase") },
        "m");

    /// <summary><c>m3</c>: settings beta1, beta2, beta3, alpha, eps, period, and steps of Newton–Schulz. Gives w.</summary>
    public static OptimizerOperation M3 { get; } = new(
        "m3",
        run => new M3
        {
            Beta1 = run.Number("beta1"),
            Beta2 = run.Number("beta2"),
            Beta3 = run.Number("beta3"),
            SlowWeight = run.Number("alpha"),
            Epsilon = run.Number("eps"),
            Period = run.Count("period"),
            Steps = run.Count("steps"),
        });

    public override void Run(OperationRun run)
    {
        Tensor start = run.Input("w", "r c");
        float[] gradients = run.Input("g", "steps r c").ToArray();
        float rate = run.Number("lr");
        using var weight = new Parameter("w", start.Clone());
        using OptimizerMemory memory = optimizer(run).CreateMemory(weight);
        for (int step = 0; step < run.Axis("steps"); step++)
        {
            weight.Error.CopyFrom(gradients.AsSpan(step * start.Count, start.Count));
            memory.Commit(weight, rate, 1);
        }

        run.Output("w", weight.Value);
        foreach (string tensor in state)
            run.Output(tensor, memory.State.Single(s => s.Name == tensor).Value);
    }
}
