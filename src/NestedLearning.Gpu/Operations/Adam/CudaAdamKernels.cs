namespace NestedLearning.Gpu.Cuda;

internal static partial class AdamKernels
{
    public const string File = "adam";

    public static readonly CudaKernel<AdamArguments>
        Commit = new(File, "nl_adam_commit"),
        Changes = new(File, "nl_adam_changes");
}
