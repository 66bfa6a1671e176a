namespace NestedLearning.Gpu.Cuda;

internal static partial class CrossEntropyKernels
{
    public const string File = "cross_entropy";

    public static readonly CudaKernel<CrossEntropyArguments>
        Forward = new(File, "nl_cross_entropy_forward"),
        Backward = new(File, "nl_cross_entropy_backward"),
        WithGradient = new(File, "nl_cross_entropy_with_gradient");
}
