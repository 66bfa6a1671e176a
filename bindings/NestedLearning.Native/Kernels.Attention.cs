using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary>nl_attention_arguments.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct AttentionArguments
{
    public uint Size;
    public int Batch;
    public int Time;
    public int Keys;
    public int Heads;
    public int KeyDim;
    public int ValueDim;
    public float Scale;
    public float* Q;
    public float* K;
    public float* V;
    public float* O;
    public float* LogSums;
}

/// <summary>nl_attention_gradients.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct AttentionGradientArguments
{
    public uint Size;
    public uint Reserved;
    public float* DO;
    public float* DQ;
    public float* DK;
    public float* DV;
    public float* DQParts;
}

internal static unsafe partial class Kernels
{
    [LibraryImport(Library, EntryPoint = "nl_attention_forward_plan")]
    public static partial int AttentionForwardPlan(AttentionArguments* arguments, long* pieces, long* workspace);

    [LibraryImport(Library, EntryPoint = "nl_attention_forward")]
    public static partial int AttentionForward(AttentionArguments* arguments, long begin, long end, float* workspace);

    [LibraryImport(Library, EntryPoint = "nl_attention_backward_plan")]
    public static partial int AttentionBackwardPlan(AttentionArguments* arguments, long* pieces, long* workspace, long* dqParts);

    [LibraryImport(Library, EntryPoint = "nl_attention_backward")]
    public static partial int AttentionBackward(AttentionArguments* arguments, AttentionGradientArguments* gradients, long begin, long end, float* workspace);

    [LibraryImport(Library, EntryPoint = "nl_attention_backward_sum")]
    public static partial int AttentionBackwardSum(AttentionArguments* arguments, AttentionGradientArguments* gradients, long begin, long end);
}
