using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using NestedLearning.Gpu;
using NestedLearning.Testing;

namespace NestedLearning.Cuda.Tests;

/// <summary>
/// The driver of these tests: native/cuda/tests/stand_in_driver.cc, whose one device runs the hand-written kernels in the
/// emulator. It takes the place of a driver that is there, so that the tests are the same everywhere.
/// </summary>
internal static partial class StandIn
{
    private const string Library = "stand-in";

    private static readonly string? s_path = SharedFiles.Repository is string root
        ? Path.Combine(root, "artifacts", "native", "release", "stand-in", "libnested_learning_cuda_stand_in.so")
        : null;

    // Before any test asks for a backend by name.
    [ModuleInitializer]
    internal static void Register()
    {
        // A path that is not there is a driver that is not there: what an existing one would do is not to be seen here.
        Environment.SetEnvironmentVariable("NESTED_LEARNING_CUDA_DRIVER", s_path ?? "/nowhere");
        bool builtHere = OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64;
        if (builtHere && Environment.GetEnvironmentVariable(BackendTests.RequireVariable) == "1")
            Environment.SetEnvironmentVariable(BackendTests.RequireCudaVariable, "1");
        NativeLibrary.SetDllImportResolver(typeof(StandIn).Assembly, (name, _, _) => name == Library ? NativeLibrary.Load(s_path!) : 0);
        GpuBackends.Register();
    }

    /// <summary>Memory that the device has from now on; −1 is as at first.</summary>
    [LibraryImport(Library, EntryPoint = "nl_stand_in_set_memory")]
    internal static partial int SetMemory(long bytes);

    /// <summary>After so many more launches everything fails with this CUDA error; 0 ends that.</summary>
    [LibraryImport(Library, EntryPoint = "nl_stand_in_fail")]
    internal static partial int Fail(int launches, int error);

    /// <summary>The CUDA that the driver is of, such as 11080 for 11.8.</summary>
    [LibraryImport(Library, EntryPoint = "nl_stand_in_set_version")]
    internal static partial int SetVersion(int version);

    /// <summary>Whether hand-written PTX is refused.</summary>
    [LibraryImport(Library, EntryPoint = "nl_stand_in_refuse")]
    internal static partial int Refuse([MarshalAs(UnmanagedType.Bool)] bool refuses);

    /// <summary>Launches so far.</summary>
    [LibraryImport(Library, EntryPoint = "nl_stand_in_launches")]
    internal static partial int Launches();

    /// <summary>Waits for a stream so far.</summary>
    [LibraryImport(Library, EntryPoint = "nl_stand_in_waits")]
    internal static partial int Waits();

    /// <summary>Bytes that are allocated.</summary>
    [LibraryImport(Library, EntryPoint = "nl_stand_in_allocated")]
    internal static partial long Allocated();
}
