// Made by ./build.sh generate from native/include/nested_learning.h: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Native;

internal static unsafe partial class Kernels
{
    /// <summary>How many, the plainest first.</summary>
    [LibraryImport(Library, EntryPoint = "nl_target_count")]
    public static partial int TargetCount();

    /// <summary>"SCALAR", "AVX2", "AVX3" (AVX-512), "NEON"; null outside 0..count-1.</summary>
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

    /// <summary>
    /// Why large products of bfloat16 operands are not multiplied by AMX tiles in this process, in a few words, such
    /// as "not in this processor"; null where they are. With ask = 0 a permission of the operating system that is
    /// still to be asked for counts as given; else it is asked for, as by the first such product, once in a process.
    /// The environment variable NESTED_LEARNING_AMX set to "off" leaves AMX out; "on" makes such a product an error
    /// where AMX cannot be had. Valid until the thread's next call.
    /// </summary>
    [LibraryImport(Library, EntryPoint = "nl_amx_obstacle")]
    public static partial byte* AmxObstacle(int ask);
}
