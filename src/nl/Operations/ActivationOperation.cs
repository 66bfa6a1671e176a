namespace NestedLearning.CommandLine.Operations;

/// <summary><c>activation</c>, y = f(x): x [N]; setting function sigmoid, softplus, log_sigmoid or gelu. Gives y [N].</summary>
internal sealed class ActivationOperation : Operation
{
    public override string Name => "activation";

    public override void Run(OperationRun run)
    {
        Tensor x = run.Input("x", "N"), y = run.Empty(x.Shape);
        Elementwise.ActivationForward(Function(run), x, y);
        run.Output("y", y);
    }

    public static Activation Function(OperationRun run) => run.Choice(
        "function",
        ("sigmoid", Activation.Sigmoid),
        ("softplus", Activation.Softplus),
        ("log_sigmoid", Activation.LogSigmoid),
        ("gelu", Activation.Gelu));
}

/// <summary><c>activation-backward</c>, dx = dy ∘ f'(x): x [N], dy [N]; setting function. Gives dx [N].</summary>
internal sealed class ActivationBackwardOperation : Operation
{
    public override string Name => "activation-backward";

    public override double Tolerance => GradientTolerance;

    public override void Run(OperationRun run)
    {
        Tensor x = run.Input("x", "N"), dy = run.Input("dy", "N"), dx = run.Empty(x.Shape);
        Elementwise.ActivationBackward(ActivationOperation.Function(run), x, dy, dx);
        run.Output("dx", dx);
    }
}
