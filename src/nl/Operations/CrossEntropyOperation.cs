namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>cross-entropy</c>, −log softmax(logits)[target] in nats: logits [N,V], targets [N] (int64; −1 takes no part). Gives losses [N]
/// and log_sums [N].
/// </summary>
internal sealed class CrossEntropyOperation : Operation
{
    public override string Name => "cross-entropy";

    public override void Run(OperationRun run)
    {
        Tensor logits = run.Input("logits", "N V");
        IndexTensor targets = run.Indices("targets", "N");
        Tensor losses = run.Empty(run.Shape("N")), logSums = run.Empty(run.Shape("N"));
        CrossEntropy.Forward(logits, targets, losses, logSums);
        run.Output("losses", losses);
        run.Output("log_sums", logSums);
    }
}

/// <summary><c>cross-entropy-backward</c>: the inputs of <c>cross-entropy</c> and dlosses [N]. Gives dlogits [N,V].</summary>
internal sealed class CrossEntropyBackwardOperation : Operation
{
    public override string Name => "cross-entropy-backward";

    public override double Tolerance => GradientTolerance;

    public override void Run(OperationRun run)
    {
        Tensor logits = run.Input("logits", "N V");
        IndexTensor targets = run.Indices("targets", "N");
        Tensor dLosses = run.Input("dlosses", "N"), dLogits = run.Empty(logits.Shape);
        Tensor losses = run.Empty(run.Shape("N")), logSums = run.Empty(run.Shape("N"));
        CrossEntropy.Forward(logits, targets, losses, logSums);
        CrossEntropy.Backward(logits, targets, logSums, dLosses, dLogits);
        run.Output("dlogits", dLogits);
    }
}

/// <summary>
/// <c>cross-entropy-with-gradient</c>, both in one pass: the inputs of <c>cross-entropy</c>; setting gradient_scale, the upstream
/// gradient of every loss. Gives losses and dlogits.
/// </summary>
internal sealed class CrossEntropyWithGradientOperation : Operation
{
    public override string Name => "cross-entropy-with-gradient";

    public override void Run(OperationRun run)
    {
        Tensor logits = run.Input("logits", "N V");
        IndexTensor targets = run.Indices("targets", "N");
        Tensor losses = run.Empty(run.Shape("N")), dLogits = run.Empty(logits.Shape);
        CrossEntropy.WithGradient(logits, targets, run.Number("gradient_scale"), losses, dLogits);
        run.Output("losses", losses);
        run.Output("dlogits", dLogits);
    }
}
