// Made by ./build.sh generate from native/include/nested_learning.h: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary><c>nl_activation</c>.</summary>
internal static partial class Activation
{
    /// <summary><c>NL_SIGMOID</c>: 1 / (1 + e^-x).</summary>
    public const int Sigmoid = 0;

    /// <summary><c>NL_SOFTPLUS</c>: log(1 + e^x).</summary>
    public const int Softplus = 1;

    /// <summary><c>NL_LOG_SIGMOID</c>: -softplus(-x).</summary>
    public const int LogSigmoid = 2;

    /// <summary><c>NL_GELU</c>: x Phi(x), with erf.</summary>
    public const int Gelu = 3;
}

/// <summary><c>nl_elementwise_arguments</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 40)]
internal unsafe partial struct ElementwiseArguments
{
    [FieldOffset(0)] public uint Size;

    /// <summary>enum nl_activation, where one is asked for.</summary>
    [FieldOffset(4)] public int Activation;
    [FieldOffset(8)] public float Factor;
    [FieldOffset(12)] private readonly int _reserved;
    [FieldOffset(16)] public float* X;
    [FieldOffset(24)] public float* Y;
    [FieldOffset(32)] public float* Z;
}

internal static unsafe partial class Kernels
{
    /// <summary>z = f(x). z may be x.</summary>
    [LibraryImport(Library, EntryPoint = "nl_activation_forward")]
    public static partial int ActivationForward(ElementwiseArguments* arguments, long begin, long end);

    /// <summary>z = y f'(x): y is the gradient of f's result. z may be y.</summary>
    [LibraryImport(Library, EntryPoint = "nl_activation_backward")]
    public static partial int ActivationBackward(ElementwiseArguments* arguments, long begin, long end);

    /// <summary>z += factor x.</summary>
    [LibraryImport(Library, EntryPoint = "nl_add_scaled")]
    public static partial int AddScaled(ElementwiseArguments* arguments, long begin, long end);

    /// <summary>z = x y. z may be either.</summary>
    [LibraryImport(Library, EntryPoint = "nl_multiply")]
    public static partial int Multiply(ElementwiseArguments* arguments, long begin, long end);

    /// <summary>z = factor x. z may be x.</summary>
    [LibraryImport(Library, EntryPoint = "nl_scale")]
    public static partial int Scale(ElementwiseArguments* arguments, long begin, long end);

    /// <summary><c>NL_SUM_BLOCK</c>: Elements of one piece of a sum of squares.</summary>
    public const int SumBlock = 16384;

    /// <summary>
    /// The double sum of squares of each block of NL_SUM_BLOCK elements of x, the last one shorter, in
    /// an order that depends on its length alone: sums[block] is written for the blocks begin..end-1.
    /// </summary>
    [LibraryImport(Library, EntryPoint = "nl_sum_of_squares")]
    public static partial int SumOfSquares(float* x, long count, double* sums, long begin, long end);
}
