using NestedLearning.Native;

namespace NestedLearning;

internal sealed unsafe partial class CpuBackend
{
    public override void MomentCommit(ReadOnlySpan<MomentTensors> tensors, ReadOnlySpan<MomentSettings> settings,
        Span<CommitChange> changes) =>
        CommitPieces.Run<MomentOperands, MomentKernel>(Work, MomentOperands.All(tensors, settings), changes);

    private readonly struct MomentKernel : ICommitKernel<MomentOperands>
    {
        public static void Run(in MomentOperands operands, int begin, int end, double* sums)
        {
            MomentSettings s = operands.Settings;
            bool measured = sums != null && operands.W != null;
            var native = new MomentArguments
            {
                Size = (uint)sizeof(MomentArguments),
                ClearGradient = s.ClearGradient ? 1 : 0,
                GradientScale = s.GradientScale,
                Keep1 = s.Keep1,
                Write1 = s.Write1,
                Keep2 = s.Keep2,
                Write2 = s.Write2,
                ReadMoment = s.ReadMoment,
                ReadGradient = s.ReadGradient,
                LearningRate = s.LearningRate,
                Decay = s.Decay,
                Epsilon = s.Epsilon,
                W = operands.W,
                G = operands.G,
                M = operands.M,
                V = operands.V,
                Start = operands.Start,
                Sums = measured ? sums : null,
            };
            Status.ThrowIfFailed(Kernels.MomentCommit(&native, begin, end));
            if (sums != null && !measured)
                (sums[0], sums[1]) = (0, 0);
        }
    }
}
