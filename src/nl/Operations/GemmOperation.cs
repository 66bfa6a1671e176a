namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>gemm</c>, C = epilogue(op(A) op(B) + bias) + residual_scale · residual: a [M,K], or [K,M] with transpose_a, b [K,N], or
/// [N,K] with transpose_b; optional bias [N], residual [M,N], or c [M,N], to which the product is then added; settings
/// transpose_a, transpose_b, epilogue none, gelu or gelu_gradient (then with pre_activation [M,N]), residual_scale, precision
/// float32 or bfloat16, symmetric, all optional. Gives c and, with gelu, pre_activation.
/// </summary>
internal sealed class GemmOperation : Operation
{
    public override string Name => "gemm";

    public override void Run(OperationRun run)
    {
        bool transposeA = run.Flag("transpose_a"), transposeB = run.Flag("transpose_b");
        Tensor a = run.Input("a", transposeA ? "K M" : "M K"), b = run.Input("b", transposeB ? "N K" : "K N");
        Epilogue epilogue = run.OptionalChoice(
            "epilogue", ("none", Epilogue.None), ("gelu", Epilogue.Gelu), ("gelu_gradient", Epilogue.GeluGradient));
        Tensor? before = run.OptionalInput("c", "M N");
        var arguments = new GemmArguments
        {
            A = a,
            B = b,
            C = before is null ? run.Empty(run.Shape("M N")) : run.Own(before.Clone()),
            TransposeA = transposeA,
            TransposeB = transposeB,
            Bias = run.OptionalInput("bias", "N"),
            Epilogue = epilogue,
            PreActivation = epilogue == Epilogue.Gelu
                ? run.Empty(run.Shape("M N"))
                : run.InputIf(epilogue == Epilogue.GeluGradient, "pre_activation", "M N"),
            Residual = run.OptionalInput("residual", "M N"),
            ResidualScale = run.OptionalNumber("residual_scale", 1),
            Precision = run.OptionalChoice("precision", ("float32", GemmPrecision.Float32), ("bfloat16", GemmPrecision.BFloat16)),
            Symmetric = run.Flag("symmetric"),
            Accumulate = before is not null,
        };
        Gemm.Multiply(arguments);
        run.Output("c", arguments.C);
        if (epilogue == Epilogue.Gelu)
            run.OptionalOutput("pre_activation", arguments.PreActivation);
    }
}

/// <summary>
/// <c>batched-gemm</c>, C = op(A) op(B) for each of P pairs: a [P,M,K], or [P,K,M] with transpose_a, b [P,K,N], or [P,N,K] with
/// transpose_b; optional c [P,M,N], to which the products are then added. Gives c.
/// </summary>
internal sealed class BatchedGemmOperation : Operation
{
    public override string Name => "batched-gemm";

    public override void Run(OperationRun run)
    {
        bool transposeA = run.Flag("transpose_a"), transposeB = run.Flag("transpose_b");
        Tensor a = run.Input("a", transposeA ? "P K M" : "P M K"), b = run.Input("b", transposeB ? "P N K" : "P K N");
        Tensor? before = run.OptionalInput("c", "P M N");
        Tensor c = before is null ? run.Empty(run.Shape("P M N")) : run.Own(before.Clone());
        Gemm.MultiplyBatch(a, b, c, transposeA, transposeB, accumulate: before is not null);
        run.Output("c", c);
    }
}
