// Made by ./build.sh generate from native/include/nested_learning.h: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Native;

internal static unsafe partial class Kernels
{
    /// <summary>How many, the plainest first.</summary>
    [LibraryImport(Library, EntryPoint = "nl_target_count")]
    public static partial int TargetCount();

    /// <summary>"SCALAR", "SSE4", "AVX2", "AVX3" (AVX-512), "NEON"; null outside 0..count-1.</summary>
    [LibraryImport(Library, EntryPoint = "nl_target_name")]
    public static partial byte* TargetName(int target);

    /// <summary>1 where the processor and the operating system can run it, else 0.</summary>
    [LibraryImport(Library, EntryPoint = "nl_target_supported")]
    public static partial int TargetSupported(int target);

    /// <summary>
    /// The target in use. At first the best supported one, or the one that the environment variable
    /// NESTED_LEARNING_TARGET names; a name that is unknown or not supported here is an error, for this
    /// function and for every kernel.
    /// </summary>
    [LibraryImport(Library, EntryPoint = "nl_target_current")]
    public static partial int TargetCurrent(int* target);

    /// <summary>Makes a target the one in use, for the whole process; for tests. Not while kernels run.</summary>
    [LibraryImport(Library, EntryPoint = "nl_target_choose")]
    public static partial int TargetChoose(int target);
}
