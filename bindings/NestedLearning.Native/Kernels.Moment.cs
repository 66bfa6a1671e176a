using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary>nl_moment_arguments.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct MomentArguments
{
    public uint Size;
    public int ClearGradient;
    public float GradientScale;
    public float Keep1;
    public float Write1;
    public float Keep2;
    public float Write2;
    public float ReadMoment;
    public float ReadGradient;
    public float LearningRate;
    public float Decay;
    public float Epsilon;
    public float* W;
    public float* G;
    public float* M;
    public float* V;
    public float* Start;
    public double* Sums;
}

internal static unsafe partial class Kernels
{
    [LibraryImport(Library, EntryPoint = "nl_moment_commit")]
    public static partial int MomentCommit(MomentArguments* arguments, long begin, long end);
}
