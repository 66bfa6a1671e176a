using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary>nl_adam_arguments.</summary>
[StructLayout(LayoutKind.Sequential)]
internal unsafe struct AdamArguments
{
    public uint Size;
    public int Decoupled;
    public int Moments;
    public int ClearGradient;
    public float LearningRate;
    public float Epsilon;
    public float WeightDecay;
    public float GradientScale;
    public double Beta1;
    public double Beta2;
    public double Correction1;
    public double Correction2;
    public long Step;
    public ulong Seed;
    public float* W;
    public float* G;
    public void* M;
    public void* V;
    public double* Sums;
}

internal static unsafe partial class Kernels
{
    [LibraryImport(Library, EntryPoint = "nl_adam_commit")]
    public static partial int AdamCommit(AdamArguments* arguments, long begin, long end);
}
