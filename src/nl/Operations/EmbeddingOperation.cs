namespace NestedLearning.CommandLine.Operations;

/// <summary><c>embedding</c>: tokens [N] (int64), table [V,D]. Gives y [N,D], the rows of the table.</summary>
internal sealed class EmbeddingOperation : Operation
{
    public override string Name => "embedding";

    public override void Run(OperationRun run)
    {
        IndexTensor tokens = run.Indices("tokens", "N");
        Tensor table = run.Input("table", "V D"), y = run.Empty(run.Shape("N D"));
        Embedding.Forward(tokens, table, y);
        run.Output("y", y);
    }
}

/// <summary>
/// <c>embedding-backward</c>: tokens [N] (int64), dy [N,D], dtable [V,D]. Gives dtable with each row of dy added to its token's.
/// </summary>
internal sealed class EmbeddingBackwardOperation : Operation
{
    public override string Name => "embedding-backward";

    public override double Tolerance => GradientTolerance;

    public override void Run(OperationRun run)
    {
        IndexTensor tokens = run.Indices("tokens", "N");
        Tensor dy = run.Input("dy", "N D"), dTable = run.Own(run.Input("dtable", "V D").Clone());
        Embedding.Backward(tokens, dy, dTable);
        run.Output("dtable", dTable);
    }
}
