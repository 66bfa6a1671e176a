namespace NestedLearning.Gpu.Cuda;

internal static partial class ElementwiseKernels
{
    public const string File = "elementwise";

    public static readonly CudaKernel<ElementwiseArguments>
        Fill = new(File, "nl_fill"),
        AddScaled = new(File, "nl_add_scaled"),
        Multiply = new(File, "nl_multiply"),
        Scale = new(File, "nl_scale"),
        ActivationForward = new(File, "nl_activation_forward"),
        ActivationBackward = new(File, "nl_activation_backward");

    public static readonly CudaKernel<SumArguments>
        SumOfSquares = new(File, "nl_sum_of_squares"),
        SumOfParts = new(File, "nl_sum_of_parts");
}
