// Made by ./build.sh generate from native/include/nested_learning.h: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary><c>nl_moments</c>.</summary>
internal static partial class Moments
{
    /// <summary><c>NL_MOMENTS_FLOAT32</c>.</summary>
    public const int Float32 = 0;

    /// <summary>
    /// <c>NL_MOMENTS_BFLOAT16</c>:
    /// Two bytes an element, rounded stochastically: random bits r are added below those that are kept,
    /// 16 for m and their complement for v. They are those of Philox4x32-10 with the key seed and the
    /// counter (block, step). 16 blocks serve 128 elements: element e, with i = e % 128 / 2, takes of
    /// word 2 (i / 32) + i % 2 of block 16 (e / 128) + i % 32 / 2 the low half where e is even, else the
    /// high one.
    /// </summary>
    public const int BFloat16 = 1;
}

/// <summary>
/// <c>nl_adam_arguments</c>:
/// g' = gradient_scale g, and + weight_decay w where not decoupled
/// m = beta1 m + (1 - beta1) g'
/// v = beta2 v + (1 - beta2) g'^2
/// w = w - learning_rate (m / correction1) / (sqrt(v / correction2) + epsilon)
///       - learning_rate weight_decay w where decoupled
/// with correction_i = 1 - beta_i^step; m and v here are those before their rounding to bfloat16. epsilon is
/// a normal number above 0. No operation is fused with another, so that every instruction set gives the same
/// bits; what each takes and gives is a zero where it would be subnormal.
/// </summary>
[StructLayout(LayoutKind.Explicit, Size = 120)]
internal unsafe partial struct AdamArguments
{
    [FieldOffset(0)] public uint Size;
    [FieldOffset(4)] public int Decoupled;

    /// <summary>enum nl_moments.</summary>
    [FieldOffset(8)] public int Moments;

    /// <summary>whether g becomes 0.</summary>
    [FieldOffset(12)] public int ClearGradient;
    [FieldOffset(16)] public float LearningRate;
    [FieldOffset(20)] public float Epsilon;
    [FieldOffset(24)] public float WeightDecay;
    [FieldOffset(28)] public float GradientScale;
    [FieldOffset(32)] public double Beta1;
    [FieldOffset(40)] public double Beta2;
    [FieldOffset(48)] public double Correction1;
    [FieldOffset(56)] public double Correction2;

    /// <summary>with bfloat16 moments, as is seed.</summary>
    [FieldOffset(64)] public long Step;
    [FieldOffset(72)] public ulong Seed;
    [FieldOffset(80)] public float* W;
    [FieldOffset(88)] public float* G;

    /// <summary>float or bfloat16, as told by moments.</summary>
    [FieldOffset(96)] public void* M;
    [FieldOffset(104)] public void* V;

    /// <summary>
    /// Null, or two numbers that are written: over this call's elements, the sums of squares of w's
    /// change and of w before it.
    /// </summary>
    [FieldOffset(112)] public double* Sums;
}

internal static unsafe partial class Kernels
{
    [LibraryImport(Library, EntryPoint = "nl_adam_commit")]
    public static partial int AdamCommit(AdamArguments* arguments, long begin, long end);
}
