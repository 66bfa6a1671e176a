using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary>nl_adam_arguments.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct AdamArguments
{
    public uint Size;
    public int Decoupled;
    public float LearningRate;
    public float Beta1;
    public float Beta2;
    public float Epsilon;
    public float WeightDecay;
    public float Correction1;
    public float Correction2;
    public float GradientScale;
    public float* W;
    public float* G;
    public float* M;
    public float* V;
}

internal static unsafe partial class Kernels
{
    [LibraryImport(Library, EntryPoint = "nl_adam_commit")]
    public static partial int AdamCommit(AdamArguments* arguments, long begin, long end);
}
