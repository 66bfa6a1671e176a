using System.Diagnostics;
using System.Runtime.InteropServices;
using TorchSharp;

namespace NestedLearning.Benchmarks;

/// <summary>TorchSharp as it comes, and set up as well as it can be.</summary>
internal static class Peer
{
    /// <summary>Why TorchSharp cannot be used here; null if it can.</summary>
    public static string? Absence { get; } = Load();

    /// <summary>
    /// The environment in which libtorch is fastest. MKL takes the best path only on Intel's processors unless it is
    /// told that this is one; and an allocator that gives large blocks back gets them as new, empty pages at every call.
    /// </summary>
    /// <param name="folder">Where a library is compiled to.</param>
    /// <param name="absence">Why there is none, when null is returned.</param>
    public static Dictionary<string, string>? BestEnvironment(string folder, out string? absence)
    {
        absence = Absence;
        if (absence is null && !(OperatingSystem.IsLinux() && RuntimeInformation.ProcessArchitecture == Architecture.X64))
            absence = "how to set it up is known for Linux on x64 alone";
        string library = Path.Combine(folder, "mkl_is_on_intel.so");
        if (absence is null && !Compile("int mkl_serv_intel_cpu_true(void) { return 1; } int mkl_serv_intel_cpu(void) { return 1; }",
            library))
            absence = "gcc is needed for it";
        return absence is not null ? null : new Dictionary<string, string>
        {
            ["LD_PRELOAD"] = library,
            ["MKL_ENABLE_INSTRUCTIONS"] = "AVX512",
            ["MALLOC_MMAP_MAX_"] = "0",
            ["MALLOC_TRIM_THRESHOLD_"] = "-1",
            ["MALLOC_TOP_PAD_"] = "268435456",
        };
    }

    private static string? Load()
    {
        try
        {
            torch.set_num_threads(Environment.ProcessorCount);
            return null;
        }
        catch (Exception e) when (
            e is TypeInitializationException or NotSupportedException or DllNotFoundException or EntryPointNotFoundException)
        {
            Exception cause = e.GetBaseException();
            return cause.Message.Split('\n', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)[0];
        }
    }

    private static bool Compile(string source, string library)
    {
        try
        {
            Directory.CreateDirectory(Path.GetDirectoryName(library)!);
            using var compiler = Process.Start(
                new ProcessStartInfo("gcc", ["-shared", "-fPIC", "-x", "c", "-", "-o", library]) { RedirectStandardInput = true })!;
            compiler.StandardInput.Write(source);
            compiler.StandardInput.Close();
            compiler.WaitForExit();
            return compiler.ExitCode == 0;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return false;
        }
    }
}
