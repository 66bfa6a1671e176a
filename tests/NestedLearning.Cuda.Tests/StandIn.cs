using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using NestedLearning.Gpu;
using NestedLearning.Gpu.Cuda;
using NestedLearning.Testing;

namespace NestedLearning.Cuda.Tests;

/// <summary>
/// The driver of these tests: native/cuda/tests/stand_in_driver.cc, whose one device runs the hand-written kernels in the
/// emulator. It takes the place of a driver that is there, so that the tests are the same everywhere; so does stand_in_cublas.cc
/// for tests that ask for it.
/// </summary>
internal static partial class StandIn
{
    private const string Library = "stand_in_driver", BlasLibrary = "stand_in_cublas";

    private static readonly string s_folder = SharedFiles.Repository is string root
        ? Path.Combine(root, "artifacts", "native", "release", "stand-in")
        : "/nowhere";

    /// <summary>Where the driver's stand-in is.</summary>
    internal static string Driver => FileOf(Library);

    /// <summary>Where cuBLAS's stand-in is.</summary>
    internal static string Blas => FileOf(BlasLibrary);

    // Before any test asks for a backend by name.
    [ModuleInitializer]
    internal static void Register()
    {
        // A path that is not there is a driver that is not there: what an existing one would do is not to be seen here.
        Environment.SetEnvironmentVariable("NESTED_LEARNING_CUDA_DRIVER", FileOf(Library));
        // Products are our own where nothing else is asked for.
        Environment.SetEnvironmentVariable(CudaBlas.Variable, "off");
        bool builtHere = OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64;
        if (builtHere && Environment.GetEnvironmentVariable(BackendTests.RequireVariable) == "1")
            Environment.SetEnvironmentVariable(BackendTests.RequireCudaVariable, "1");
        // It cannot run ILGPU's kernels.
        if (Ptx.Missing is { } missing)
        {
            foreach (string backend in (ReadOnlySpan<string>)["cuda", CudaBlasTests.WithBlas, .. HybridBackendProvider.WithPtx])
                BackendTests.Untestable.Add(backend, missing);
        }

        NativeLibrary.SetDllImportResolver(typeof(StandIn).Assembly, (name, _, _) =>
            name is Library or BlasLibrary ? NativeLibrary.Load(FileOf(name)) : 0);
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

    /// <summary>Products of cuBLAS so far.</summary>
    [LibraryImport(BlasLibrary, EntryPoint = "nl_stand_in_cublas_products")]
    internal static partial int BlasProducts();

    /// <summary>cuBLAS gives this status from now on.</summary>
    [LibraryImport(BlasLibrary, EntryPoint = "nl_stand_in_cublas_fail")]
    internal static partial int FailBlas(int status);

    private static string FileOf(string library) => Path.Combine(s_folder, $"lib{library}.so");
}
