namespace NestedLearning.Optimizers;

/// <summary>A momentum m of a parameter's shape that is itself the step, W ← W + m, and the memory of its preconditioner.</summary>
internal abstract class LinearMomentumMemory : OptimizerMemory
{
    protected LinearMomentumMemory(Optimizer optimizer, PreconditionerMemory preconditioner, Tensor weight)
        : base(optimizer)
    {
        Preconditioner = preconditioner;
        M = weight.Device.Zeros(weight.Shape);
        State = [("m", M), .. preconditioner.State];
    }

    public sealed override IReadOnlyList<(string Name, Tensor Value)> State { get; }

    public sealed override IReadOnlyList<OptimizerMemoryLevel> Levels =>
        [new("m", Period: 1, Bytes(M)), .. Preconditioner.Levels];

    protected Tensor M { get; }

    protected PreconditionerMemory Preconditioner { get; }

    /// <summary>m ← keep m − η value; W ← W + m.</summary>
    protected void WriteAndMove(Parameter parameter, Tensor value, float keep, float learningRate) =>
        MomentCommit.Apply(new MomentTensors(parameter.Value, value, M), new MomentSettings
        {
            GradientIsBounded = true,
            LearningRate = -1,
            Keep1 = keep,
            Write1 = -learningRate,
            ReadMoment = 1,
            ReadGradient = 0,
        });
}
