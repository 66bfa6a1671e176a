using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    public override void MomentCommit(
        ReadOnlySpan<MomentTensors> tensors, ReadOnlySpan<MomentSettings> settings, Span<CommitChange> changes)
    {
        int groups = 0;
        foreach (MomentTensors t in tensors)
            groups += GroupsOf(t.G.Count);
        using var commit = new Commit<MomentTensor>(
            this, groups, changes.Length, b => Launch(MomentKernels.Commit, b.Groups, new MomentCommitArguments { Batch = b }));
        for (int i = 0; i < tensors.Length; i++)
        {
            MomentSettings s = settings[i];
            var tensor = new MomentTensor
            {
                W = View(tensors[i].W),
                G = View(tensors[i].G),
                M = View(tensors[i].M),
                V = View(tensors[i].V),
                Start = View(tensors[i].Start),
                LearningRate = s.LearningRate,
                GradientScale = s.GradientScale,
                Keep1 = s.Keep1,
                Write1 = s.Write1,
                Keep2 = s.Keep2,
                Write2 = s.Write2,
                ReadMoment = s.ReadMoment,
                ReadGradient = s.ReadGradient,
                Decay = s.Decay,
                Epsilon = s.Epsilon,
                Clear = s.ClearGradient ? 1 : 0,
            };
            commit.Add(i, tensor, GroupsOf(tensors[i].G.Count));
        }

        commit.Finish(changes);
    }
}
