using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary>nl_elementwise_arguments.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ElementwiseArguments
{
    public uint Size;
    public int Activation;
    public float Factor;
    public int Reserved;
    public float* X;
    public float* Y;
    public float* Z;
}

internal static unsafe partial class Kernels
{
    [LibraryImport(Library, EntryPoint = "nl_activation_forward")]
    public static partial int ActivationForward(ElementwiseArguments* arguments, long begin, long end);

    [LibraryImport(Library, EntryPoint = "nl_activation_backward")]
    public static partial int ActivationBackward(ElementwiseArguments* arguments, long begin, long end);

    [LibraryImport(Library, EntryPoint = "nl_add_scaled")]
    public static partial int AddScaled(ElementwiseArguments* arguments, long begin, long end);

    [LibraryImport(Library, EntryPoint = "nl_multiply")]
    public static partial int Multiply(ElementwiseArguments* arguments, long begin, long end);

    /// <summary>NL_SUM_BLOCK: elements of one piece of a sum of squares.</summary>
    public const int SumBlock = 16384;

    [LibraryImport(Library, EntryPoint = "nl_sum_of_squares")]
    public static partial int SumOfSquares(float* x, long count, double* sums, long begin, long end);

    [LibraryImport(Library, EntryPoint = "nl_scale")]
    public static partial int Scale(ElementwiseArguments* arguments, long begin, long end);
}
