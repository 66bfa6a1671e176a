using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    public override void CrossEntropyForward(Tensor logits, IndexTensor targets, Tensor losses, Tensor logSums) =>
        Launch(CrossEntropyKernels.Forward, targets.Count, CrossEntropy(logits, targets) with
        {
            Losses = View(losses),
            LogSums = View(logSums),
        });

    public override void CrossEntropyBackward(Tensor logits, IndexTensor targets, Tensor logSums, Tensor dLosses, Tensor dLogits) =>
        LaunchItems(CrossEntropyKernels.Backward, logits.Count, CrossEntropy(logits, targets) with
        {
            LogSums = View(logSums),
            DLosses = View(dLosses),
            DLogits = View(dLogits),
        });

    public override void CrossEntropyWithGradient(Tensor logits, IndexTensor targets, float gradientScale, Tensor losses, Tensor dLogits) =>
        Launch(CrossEntropyKernels.WithGradient, targets.Count, CrossEntropy(logits, targets) with
        {
            GradientScale = gradientScale,
            Losses = View(losses),
            DLogits = View(dLogits),
        });

    private static CrossEntropyArguments CrossEntropy(Tensor logits, IndexTensor targets) => new()
    {
        Logits = View(logits), Targets = View(targets), Count = targets.Count, Classes = logits.Shape.Last,
    };
}
