namespace NestedLearning.CommandLine.Operations;

/// <summary>
/// <c>causal-convolution</c>, depthwise over four tokens: x [B,T,D], weight [D,4], optional bias [D] and state [B,3,D], the tokens
/// before the first. Gives y [B,T,D] and next_state [B,3,D].
/// </summary>
internal sealed class CausalConvolutionOperation : Operation
{
    public override string Name => "causal-convolution";

    public override void Run(OperationRun run)
    {
        Tensor x = run.Input("x", "B T D"), weight = run.Input("weight", "D 4"), y = run.Empty(x.Shape);
        Tensor nextState = run.Empty(run.Shape("B 3 D"));
        CausalConvolution.Forward(x, weight, run.OptionalInput("bias", "D"), run.OptionalInput("state", "B 3 D"), y, nextState);
        run.Output("y", y);
        run.Output("next_state", nextState);
    }
}

/// <summary>
/// <c>causal-convolution-backward</c>: x, weight and state as in <c>causal-convolution</c>, dy [B,T,D]. Gives dx, and dweight and
/// dbias, each added to the input of its name where the case has one.
/// </summary>
internal sealed class CausalConvolutionBackwardOperation : Operation
{
    public override string Name => "causal-convolution-backward";

    public override double Tolerance => GradientTolerance;

    public override void Run(OperationRun run)
    {
        Tensor x = run.Input("x", "B T D"), weight = run.Input("weight", "D 4"), dy = run.Input("dy", "B T D"), dx = run.Empty(x.Shape);
        Tensor dWeight = run.Accumulator("dweight", "D 4"), dBias = run.Accumulator("dbias", "D");
        CausalConvolution.Backward(x, weight, run.OptionalInput("state", "B 3 D"), dy, dx, dWeight, dBias);
        run.Output("dx", dx);
        run.Output("dweight", dWeight);
        run.Output("dbias", dBias);
    }
}
