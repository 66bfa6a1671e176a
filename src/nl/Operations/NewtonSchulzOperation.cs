namespace NestedLearning.CommandLine.Operations;

/// <summary><c>newton-schulz</c>, docs/specification.md, section 3: g [r,c]; setting steps, 5 when absent. Gives x [r,c].</summary>
internal sealed class NewtonSchulzOperation : Operation
{
    public override string Name => "newton-schulz";

    public override void Run(OperationRun run)
    {
        Tensor g = run.Input("g", "r c"), x = run.Empty(g.Shape);
        NewtonSchulz.Orthogonalize(g, x, run.OptionalCount("steps", 5));
        run.Output("x", x);
    }
}
