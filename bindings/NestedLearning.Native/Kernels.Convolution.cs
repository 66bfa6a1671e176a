using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary>nl_convolution_arguments.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct ConvolutionArguments
{
    public uint Size;
    public int Reserved;
    public long Batch;
    public long Time;
    public long Channels;
    public float* X;
    public float* Weight;
    public float* Bias;
    public float* State;
    public float* Y;
    public float* Dy;
    public float* Dx;
    public float* DWeight;
    public float* DBias;
}

internal static unsafe partial class Kernels
{
    /// <summary>NL_CONVOLUTION_TIME: tokens of one piece.</summary>
    public const int ConvolutionTime = 64;

    /// <summary>NL_CONVOLUTION_CHANNELS: channels of one piece of the weights' gradient.</summary>
    public const int ConvolutionChannels = 64;

    [LibraryImport(Library, EntryPoint = "nl_convolution_workspace")]
    public static partial int ConvolutionWorkspace(ConvolutionArguments* arguments, long* workspace);

    [LibraryImport(Library, EntryPoint = "nl_convolution_forward")]
    public static partial int ConvolutionForward(ConvolutionArguments* arguments, long begin, long end, float* workspace);

    [LibraryImport(Library, EntryPoint = "nl_convolution_backward_input")]
    public static partial int ConvolutionBackwardInput(ConvolutionArguments* arguments, long begin, long end, float* workspace);

    [LibraryImport(Library, EntryPoint = "nl_convolution_backward_weight")]
    public static partial int ConvolutionBackwardWeight(ConvolutionArguments* arguments, long begin, long end);
}
