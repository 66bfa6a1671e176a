// Made by ./build.sh generate from native/include/nested_learning.h: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary>
/// <c>nl_moment_arguments</c>:
/// g' = gradient_scale g
/// m = keep1 m + write1 g'
/// v = keep2 v + write2 g'^2
/// r = read_moment m + read_gradient g'
/// w = start - (decay start + learning_rate r / (sqrt(v) + epsilon))
/// Without m it counts as 0, and without v nothing is divided. Without w only m and v are written. Without start, w
/// itself is where it starts from. With w and v, epsilon is a normal number above 0. No operation is fused with another, as in
/// nl_adam_commit.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 96)]
internal unsafe partial struct MomentArguments
{
    [FieldOffset(0)] public uint Size;

    /// <summary>whether g becomes 0.</summary>
    [FieldOffset(4)] public int ClearGradient;
    [FieldOffset(8)] public float GradientScale;
    [FieldOffset(12)] public float Keep1;
    [FieldOffset(16)] public float Write1;
    [FieldOffset(20)] public float Keep2;
    [FieldOffset(24)] public float Write2;
    [FieldOffset(28)] public float ReadMoment;
    [FieldOffset(32)] public float ReadGradient;
    [FieldOffset(36)] public float LearningRate;
    [FieldOffset(40)] public float Decay;
    [FieldOffset(44)] public float Epsilon;

    /// <summary>or null, as are m, v and start.</summary>
    [FieldOffset(48)] public float* W;
    [FieldOffset(56)] public float* G;
    [FieldOffset(64)] public float* M;
    [FieldOffset(72)] public float* V;
    [FieldOffset(80)] public float* Start;

    /// <summary>as in nl_adam_arguments; null without w.</summary>
    [FieldOffset(88)] public double* Sums;
}

internal static unsafe partial class Kernels
{
    [LibraryImport(Library, EntryPoint = "nl_moment_commit")]
    public static partial int MomentCommit(MomentArguments* arguments, long begin, long end);
}
