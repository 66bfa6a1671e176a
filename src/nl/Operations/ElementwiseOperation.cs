namespace NestedLearning.CommandLine.Operations;

/// <summary>The small operations between the others, each over the tensors that its line in <see cref="Operation.All"/> names.</summary>
internal sealed class ElementwiseOperation(string name, Action<OperationRun> compute) : Operation
{
    public override string Name => name;

    /// <summary><c>add-scaled</c>: x [N], y [N]; setting factor. Gives y + factor · x as y.</summary>
    public static ElementwiseOperation AddScaled { get; } = new("add-scaled", run =>
    {
        Tensor x = run.Input("x", "N"), y = run.Own(run.Input("y", "N").Clone());
        Elementwise.AddScaled(run.Number("factor"), x, y);
        run.Output("y", y);
    });

    /// <summary><c>multiply</c>: x [N], y [N]. Gives z = x ∘ y.</summary>
    public static ElementwiseOperation Multiply { get; } = new("multiply", run =>
    {
        Tensor x = run.Input("x", "N"), y = run.Input("y", "N"), z = run.Empty(x.Shape);
        Elementwise.Multiply(x, y, z);
        run.Output("z", z);
    });

    /// <summary><c>scale</c>: x [N]; setting factor. Gives factor · x as x.</summary>
    public static ElementwiseOperation Scale { get; } = new("scale", run =>
    {
        Tensor x = run.Own(run.Input("x", "N").Clone());
        run.Device.Backend.Scale(x, run.Number("factor"));
        run.Output("x", x);
    });

    /// <summary><c>sum-of-squares</c>: x [N]. Gives sum [1].</summary>
    public static ElementwiseOperation SumOfSquares { get; } = new("sum-of-squares", run =>
        run.Output("sum", [1], [(float)run.Device.Backend.SumOfSquares(run.Input("x", "N"))]));

    /// <summary><c>column-sum</c>: x [M,N], optional sums [N], to which it is added. Gives sums.</summary>
    public static ElementwiseOperation ColumnSum { get; } = new("column-sum", run =>
    {
        Tensor x = run.Input("x", "M N"), sums = run.Accumulator("sums", "N");
        NestedLearning.Operations.ColumnSum.Add(x, sums);
        run.Output("sums", sums);
    });

    /// <summary>
    /// <c>copy-tokens</c>: source [B,S,D], destination [B,T,D]; settings count, and optionally source_first, destination_first (0)
    /// and accumulate (false). Gives destination with those tokens written, or added to.
    /// </summary>
    public static ElementwiseOperation CopyTokens { get; } = new("copy-tokens", run =>
    {
        Tensor source = run.Input("source", "B S D"), destination = run.Own(run.Input("destination", "B T D").Clone());
        int from = run.OptionalWhole("source_first"), to = run.OptionalWhole("destination_first"), count = run.Count("count");
        // A backend takes these as they are.
        if ((long)from + count > run.Axis("S") || (long)to + count > run.Axis("T"))
        {
            throw new CaseException(
                $"{count} tokens from {from} on do not fit {source.Shape}, or not from {to} on into {destination.Shape}.");
        }

        run.Device.Backend.CopyTokens(source, from, destination, to, count, run.Flag("accumulate"));
        run.Output("destination", destination);
    });

    /// <summary>
    /// <c>rotate</c>: x [B,T,H,D], table [T,W] with W = 2 ⌊D/2⌋; optional setting back (false). Gives y: each head's halves turned by
    /// the angles whose cosines and sines the table holds, or turned back.
    /// </summary>
    public static ElementwiseOperation Rotate { get; } = new("rotate", run =>
    {
        Tensor x = run.Input("x", "B T H D"), table = run.Input("table", "T W"), y = run.Empty(x.Shape);
        Rotation.Apply(x, table, run.Flag("back"), y);
        run.Output("y", y);
    });

    public override void Run(OperationRun run) => compute(run);
}
