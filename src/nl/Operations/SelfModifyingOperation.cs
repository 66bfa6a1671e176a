namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>self-modifying</c>, docs/specification.md, section 6, with one head: x [B,T,D], wq s_k s_v s_mem [D,D], s_eta s_alpha [D,1],
/// the same start for every sequence; settings chunk, objective l2 or dot, read, eta_scale, eta_bias, alpha_bias and optionally
/// the flags of <see cref="SelfModifyingSettings"/>. Gives o [B,T,D] and the final memories s_* [B,D,·].
/// </summary>
internal sealed class SelfModifyingOperation : Operation
{
    public override string Name => "self-modifying";

    public override void Run(OperationRun run)
    {
        Tensor x = run.Input("x", "B T D");
        Tensor wq = run.Input("wq", "D D");
        // The columns of the state, side by side in this order: SelfModifyingInputs.
        (string Name, Tensor Start)[] memories =
        [
            ("s_k", run.Input("s_k", "D D")),
            ("s_v", run.Input("s_v", "D D")),
            ("s_mem", run.Input("s_mem", "D D")),
            ("s_eta", run.Input("s_eta", "D 1")),
            ("s_alpha", run.Input("s_alpha", "D 1")),
        ];
        SelfModifyingSettings settings = SelfModifyingCase.Settings(run);

        int batch = run.Axis("B"), dim = run.Axis("D");
        int columns = SelfModifyingSettings.StateColumns(dim);
        Shape tokens = [batch, run.Axis("T"), 1, dim];
        Shape states = [batch, 1, dim, columns];

        float[] start = new float[states.ElementCount];
        int column = 0;
        foreach ((_, Tensor memory) in memories)
        {
            int width = memory.Shape.Last;
            float[] elements = memory.ToArray();
            for (int row = 0; row < batch * dim; row++)
                elements.AsSpan(row % dim * width, width).CopyTo(start.AsSpan(row * columns + column));
            column += width;
        }

        Tensor projected = run.Empty(x.Shape);
        Tensor q = run.Empty(x.Shape);
        Gemm.Multiply(new GemmArguments { A = x, B = wq, C = projected });
        Norm.Forward(NormKind.L2, projected, null, null, SelfModifyingSettings.NormEpsilon, q);

        var inputs = new SelfModifyingInputs
        {
            X = run.Own(x.Reshape(tokens)),
            Q = run.Own(q.Reshape(tokens)),
            S0 = run.Own(run.Device.From(states, start)),
        };
        var outputs = new SelfModifyingOutputs { O = run.Empty(tokens), S = run.Empty(states) };
        SelfModifying.Forward(inputs, settings, outputs);

        run.Output("o", x.Shape, outputs.O.ToArray());
        float[] end = outputs.S.ToArray();
        column = 0;
        foreach ((string name, Tensor memory) in memories)
        {
            int width = memory.Shape.Last;
            float[] elements = new float[batch * dim * width];
            for (int row = 0; row < batch * dim; row++)
                end.AsSpan(row * columns + column, width).CopyTo(elements.AsSpan(row * width));
            run.Output(name, [batch, dim, width], elements);
            column += width;
        }
    }
}
