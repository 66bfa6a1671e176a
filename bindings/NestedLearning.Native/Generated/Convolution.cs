// Made by ./build.sh generate from native/include/nested_learning.h: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary><c>nl_convolution_arguments</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 104)]
internal unsafe partial struct ConvolutionArguments
{
    [FieldOffset(0)] public uint Size;
    [FieldOffset(4)] private readonly int _reserved;
    [FieldOffset(8)] public long Batch;
    [FieldOffset(16)] public long Time;
    [FieldOffset(24)] public long Channels;

    /// <summary>[batch, time, channels].</summary>
    [FieldOffset(32)] public float* X;

    /// <summary>[channels, 4].</summary>
    [FieldOffset(40)] public float* Weight;

    /// <summary>[channels], or null.</summary>
    [FieldOffset(48)] public float* Bias;

    /// <summary>[batch, 3, channels], the tokens before the first, or null for zeros.</summary>
    [FieldOffset(56)] public float* State;

    /// <summary>[batch, time, channels]; forward.</summary>
    [FieldOffset(64)] public float* Y;

    /// <summary>[batch, time, channels]; backward, as all that follows.</summary>
    [FieldOffset(72)] public float* DY;

    /// <summary>[batch, time, channels], written.</summary>
    [FieldOffset(80)] public float* DX;

    /// <summary>[channels, 4], added to, or null.</summary>
    [FieldOffset(88)] public float* DWeight;

    /// <summary>[channels], added to, or null.</summary>
    [FieldOffset(96)] public float* DBias;
}

internal static unsafe partial class Kernels
{
    /// <summary>
    /// <c>NL_CONVOLUTION_TIME</c>:
    /// Pieces of y and of dx: blocks of NL_CONVOLUTION_TIME tokens of one sequence, all of a sequence's
    /// before the next's.
    /// </summary>
    public const int ConvolutionTime = 64;

    /// <summary><c>NL_CONVOLUTION_CHANNELS</c>: Pieces of dweight and dbias: blocks of NL_CONVOLUTION_CHANNELS channels.</summary>
    public const int ConvolutionChannels = 64;

    /// <summary>Floats of workspace for nl_convolution_forward and nl_convolution_backward_input.</summary>
    [LibraryImport(Library, EntryPoint = "nl_convolution_workspace")]
    public static partial int ConvolutionWorkspace(ConvolutionArguments* arguments, long* workspace);

    /// <summary>y_t = bias + sum over j = 0..3 of weight[:, j] x_{t-3+j}.</summary>
    [LibraryImport(Library, EntryPoint = "nl_convolution_forward")]
    public static partial int ConvolutionForward(ConvolutionArguments* arguments, long begin, long end, float* workspace);

    /// <summary>dx_t = sum over j of weight[:, j] dy_{t+3-j}.</summary>
    [LibraryImport(Library, EntryPoint = "nl_convolution_backward_input")]
    public static partial int ConvolutionBackwardInput(ConvolutionArguments* arguments, long begin, long end, float* workspace);

    /// <summary>dweight[:, j] += sum over tokens of dy_t x_{t-3+j}; dbias += sum of dy_t.</summary>
    [LibraryImport(Library, EntryPoint = "nl_convolution_backward_weight")]
    public static partial int ConvolutionBackwardWeight(ConvolutionArguments* arguments, long begin, long end);
}
