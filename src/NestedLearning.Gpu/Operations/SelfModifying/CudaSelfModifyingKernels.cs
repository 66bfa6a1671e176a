namespace NestedLearning.Gpu.Cuda;

internal static partial class SelfModifyingKernels
{
    public const string File = "self_modifying";

    public static readonly CudaKernel<SelfModifyingProjectArguments>[]
        Project = CudaKernel.InEachRounding<SelfModifyingProjectArguments>(File, "nl_self_modifying_project");

    public static readonly CudaKernel<SelfModifyingProjectBackwardArguments>[]
        ProjectBackward = CudaKernel.InEachRounding<SelfModifyingProjectBackwardArguments>(File, "nl_self_modifying_project_backward");
}
