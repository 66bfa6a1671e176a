namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>linear-cross-entropy</c>, cross-entropy of the logits x Wᵀ without the logits: x [N,D], weight [V,D], targets [N] (int64; −1
/// takes no part). Gives losses [N] and log_sums [N].
/// </summary>
internal sealed class LinearCrossEntropyOperation : Operation
{
    public override string Name => "linear-cross-entropy";

    public override void Run(OperationRun run)
    {
        Tensor x = run.Input("x", "N D"), weight = run.Input("weight", "V D");
        IndexTensor targets = run.Indices("targets", "N");
        Tensor losses = run.Empty(run.Shape("N")), logSums = run.Empty(run.Shape("N"));
        LinearCrossEntropy.Forward(x, weight, targets, losses, logSums);
        run.Output("losses", losses);
        run.Output("log_sums", logSums);
    }
}

/// <summary>
/// <c>linear-cross-entropy-backward</c>: the inputs of <c>linear-cross-entropy</c> and dlosses [N]. Gives dx and dweight, which is
/// added to the input dweight [V,D] where the case has one.
/// </summary>
internal sealed class LinearCrossEntropyBackwardOperation : Operation
{
    public override string Name => "linear-cross-entropy-backward";

    public override double Tolerance => GradientTolerance;

    public override void Run(OperationRun run)
    {
        Tensor x = run.Input("x", "N D"), weight = run.Input("weight", "V D");
        IndexTensor targets = run.Indices("targets", "N");
        Tensor dLosses = run.Input("dlosses", "N"), dx = run.Empty(x.Shape), dWeight = run.Accumulator("dweight", "V D");
        Tensor losses = run.Empty(run.Shape("N")), logSums = run.Empty(run.Shape("N"));
        LinearCrossEntropy.Forward(x, weight, targets, losses, logSums);
        LinearCrossEntropy.Backward(x, weight, targets, logSums, dLosses, dx, dWeight);
        run.Output("dx", dx);
        run.Output("dweight", dWeight);
    }
}

/// <summary>
/// <c>linear-cross-entropy-with-gradient</c>, both in one pass: the inputs of <c>linear-cross-entropy</c>, optional dweight [V,D];
/// setting gradient_scale, the upstream gradient of every loss. Gives losses, dx and dweight.
/// </summary>
internal sealed class LinearCrossEntropyWithGradientOperation : Operation
{
    public override string Name => "linear-cross-entropy-with-gradient";

    public override void Run(OperationRun run)
    {
        Tensor x = run.Input("x", "N D"), weight = run.Input("weight", "V D");
        IndexTensor targets = run.Indices("targets", "N");
        Tensor losses = run.Empty(run.Shape("N")), dx = run.Empty(x.Shape), dWeight = run.Accumulator("dweight", "V D");
        LinearCrossEntropy.WithGradient(x, weight, targets, run.Number("gradient_scale"), losses, dx, dWeight);
        run.Output("losses", losses);
        run.Output("dx", dx);
        run.Output("dweight", dWeight);
    }
}
