using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    public override void AdamCommit(ReadOnlySpan<AdamTensors> tensors, ReadOnlySpan<AdamSettings> settings, Span<CommitChange> changes)
    {
        int groups = 0;
        foreach (AdamTensors t in tensors)
            groups += GroupsOf(t.W.Count);
        using var commit = new Commit<AdamTensor>(
            this, groups, changes.Length, b => Launch(AdamKernels.Commit, b.Groups, new AdamCommitArguments { Batch = b }));
        for (int i = 0; i < tensors.Length; i++)
            commit.Add(i, Adam(tensors[i].W, tensors[i].G, tensors[i].M, tensors[i].V, settings[i]), GroupsOf(tensors[i].W.Count));
        commit.Finish(changes);
    }

    private static AdamTensor Adam(Tensor w, Tensor? g, Tensor m, Tensor v, in AdamSettings s) =>
        new() { W = View(w), G = View(g), M = View(m), V = View(v), Constants = Constants(s) };

    protected static Cuda.AdamConstants Constants(in AdamSettings s) => new()
    {
        Beta1 = (float)s.Beta1,
        Rest1 = (float)(1 - s.Beta1),
        Beta2 = (float)s.Beta2,
        Rest2 = (float)(1 - s.Beta2),
        Rate = (float)(s.LearningRate / (1 - Math.Pow(s.Beta1, s.Step))),
        RootScale = (float)(1 / (1 - Math.Pow(s.Beta2, s.Step))),
        L2 = s.Decoupled ? 0 : s.WeightDecay,
        Decay = s.Decoupled ? (float)((double)s.LearningRate * s.WeightDecay) : 0,
        Epsilon = s.Epsilon,
        GradientScale = s.GradientScale,
        BFloat16 = s.Moments == MomentPrecision.BFloat16 ? 1 : 0,
        Clear = s.ClearGradient ? 1 : 0,
        Seed = s.Seed,
        Step = (ulong)s.Step,
    };
}
