using NestedLearning.Native;

namespace NestedLearning;

internal sealed unsafe partial class CpuBackend
{
    public override void AdamCommit(ReadOnlySpan<AdamTensors> tensors, ReadOnlySpan<AdamSettings> settings, Span<CommitChange> changes) =>
        CommitPieces.Run<AdamOperands, AdamKernel>(Work, AdamOperands.All(tensors, settings), changes);

    private static AdamArguments Adam(in AdamOperands operands) => new()
    {
        Size = (uint)sizeof(AdamArguments),
        Decoupled = operands.Settings.Decoupled ? 1 : 0,
        Moments = (int)operands.Settings.Moments,
        ClearGradient = operands.Settings.ClearGradient ? 1 : 0,
        LearningRate = operands.Settings.LearningRate,
        Epsilon = operands.Settings.Epsilon,
        WeightDecay = operands.Settings.WeightDecay,
        GradientScale = operands.Settings.GradientScale,
        Beta1 = operands.Settings.Beta1,
        Beta2 = operands.Settings.Beta2,
        Correction1 = operands.Correction1,
        Correction2 = operands.Correction2,
        Step = operands.Settings.Step,
        Seed = operands.Settings.Seed,
        W = operands.W,
        G = operands.G,
        M = operands.M,
        V = operands.V,
    };

    private readonly struct AdamKernel : ICommitKernel<AdamOperands>
    {
        public static void Run(in AdamOperands operands, int begin, int end, double* sums)
        {
            AdamArguments native = Adam(operands);
            native.Sums = sums;
            Status.ThrowIfFailed(Kernels.AdamCommit(&native, begin, end));
        }
    }
}
