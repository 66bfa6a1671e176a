// Made by ./build.sh generate from native/include/nested_learning.h: do not edit.
using System.Runtime.InteropServices;

namespace NestedLearning.Native;

/// <summary><c>nl_status</c>.</summary>
internal static partial class Status
{
    /// <summary><c>NL_OK</c>.</summary>
    public const int Ok = 0;

    /// <summary><c>NL_INVALID_ARGUMENT</c>.</summary>
    public const int InvalidArgument = 1;

    /// <summary><c>NL_UNSUPPORTED_TARGET</c>.</summary>
    public const int UnsupportedTarget = 2;

    /// <summary><c>NL_OUT_OF_MEMORY</c>.</summary>
    public const int OutOfMemory = 3;

    /// <summary><c>NL_INTERNAL_ERROR</c>.</summary>
    public const int InternalError = 4;
}

internal static unsafe partial class Kernels
{
    /// <summary><c>NL_ABI_VERSION</c>: Raised by one with every change that an older caller could not live with.</summary>
    public const int AbiVersion = 4;

    [LibraryImport(Library, EntryPoint = "nl_abi_version")]
    public static partial int GetAbiVersion();

    /// <summary>
    /// The message of this thread's last failure; empty before the first. Valid until the thread's next
    /// failure.
    /// </summary>
    [LibraryImport(Library, EntryPoint = "nl_last_error")]
    public static partial byte* LastError();

    /// <summary>
    /// The size of a struct of this header by its name, such as "nl_elementwise_arguments"; 0 for a name
    /// not known.
    /// </summary>
    [LibraryImport(Library, EntryPoint = "nl_struct_size", StringMarshalling = StringMarshalling.Utf8)]
    public static partial uint StructSize(string name);
}
