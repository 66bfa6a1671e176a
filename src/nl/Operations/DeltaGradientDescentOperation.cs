namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>dgd</c>, delta gradient descent, docs/specification.md, section 3: w [r,c], and of each step its input x [steps,c] and the gradient
/// of what came out grad_y [steps,r]; setting lr. Gives w after the last step.
/// </summary>
internal sealed class DeltaGradientDescentOperation : Operation
{
    public override string Name => "dgd";

    public override void Run(OperationRun run)
    {
        // The case's y = W x; a layer's weight is the transpose.
        Tensor w = run.Input("w", "r c"), x = run.Input("x", "steps c"), dy = run.Input("grad_y", "steps r");
        int rows = run.Axis("r"), columns = run.Axis("c");
        using var weight = new Parameter("w", run.Device.From([columns, rows], Transpose(rows, columns, w.ToArray())));
        using OptimizerMemory memory = new DeltaGradientDescent().CreateMemory(weight);
        weight.Factors!.Add(x, dy);
        memory.Commit(weight, run.Number("lr"), 1);
        run.Output("w", w.Shape, Transpose(columns, rows, weight.Value.ToArray()));
    }

    private static float[] Transpose(int rows, int columns, float[] x)
    {
        float[] y = new float[x.Length];
        for (int i = 0; i < x.Length; i++)
            y[i % columns * rows + i / columns] = x[i];
        return y;
    }
}
