namespace NestedLearning.Gpu.Cuda;

internal sealed unsafe partial class CudaBackend
{
    public override void CrossEntropyForward(Tensor logits, IndexTensor targets, Tensor losses, Tensor logSums)
    {
        if (CanRun(CrossEntropyKernels.File, out string? reason))
            Launch(CrossEntropyKernels.Forward, logits, targets, new() { Losses = Pointer(losses), LogSums = Pointer(logSums) });
        else
        {
            FallBack(reason);
            base.CrossEntropyForward(logits, targets, losses, logSums);
        }
    }

    public override void CrossEntropyBackward(Tensor logits, IndexTensor targets, Tensor logSums, Tensor dLosses, Tensor dLogits)
    {
        if (CanRun(CrossEntropyKernels.File, out string? reason))
        {
            Launch(CrossEntropyKernels.Backward, logits, targets, new()
            {
                LogSums = Pointer(logSums), DLosses = Pointer(dLosses), DLogits = Pointer(dLogits),
            });
        }
        else
        {
            FallBack(reason);
            base.CrossEntropyBackward(logits, targets, logSums, dLosses, dLogits);
        }
    }

    public override void CrossEntropyWithGradient(Tensor logits, IndexTensor targets, float gradientScale, Tensor losses, Tensor dLogits)
    {
        if (CanRun(CrossEntropyKernels.File, out string? reason))
        {
            Launch(CrossEntropyKernels.WithGradient, logits, targets, new()
            {
                GradientScale = gradientScale, Losses = Pointer(losses), DLogits = Pointer(dLogits),
            });
        }
        else
        {
            FallBack(reason);
            base.CrossEntropyWithGradient(logits, targets, gradientScale, losses, dLogits);
        }
    }

    private void Launch(CudaKernel<CrossEntropyArguments> kernel, Tensor logits, IndexTensor targets, CrossEntropyArguments arguments) =>
        Launch(kernel, Blocks(targets.Count, 1), CrossEntropyKernels.Threads, 0, arguments with
        {
            Logits = Pointer(logits),
            Targets = (int*)((DeviceStorage)targets.Storage).Pointer,
            Count = targets.Count,
            Classes = logits.Shape.Last,
        });
}
