using System.ComponentModel;
using System.Diagnostics;
using NestedLearning.Gpu.Cuda;
using Xunit;

namespace NestedLearning.Cuda.Tests;

/// <summary>Whether this build has the PTX of the hand-written kernels, and the compiler that makes it.</summary>
internal static class Ptx
{
    /// <summary>As native/cuda/ptx.cmake looks for it: on the path.</summary>
    public const string Compiler = "clang++-19";

    private static readonly Lazy<string?> s_version = new(Version);

    /// <summary>Why there is no PTX in this build; null where there is.</summary>
    public static string? Missing { get; } = CudaModules.Embedded().Any()
        ? null
        : $"This build was made without PTX, which the native build makes where {Compiler} is (Debian: clang-19).";

    /// <summary>The line that names the compiler here; null where it is not.</summary>
    public static string? CompilerVersion => s_version.Value;

    /// <summary>Skips a test of what this build was made without.</summary>
    public static void Require()
    {
        if (Missing is { } missing)
            Assert.Skip(missing);
    }

    /// <summary>Runs the compiler.</summary>
    /// <exception cref="Win32Exception">It is not here.</exception>
    public static async Task<(int Status, string Output, string Error)> Run(IEnumerable<string> arguments)
    {
        var start = new ProcessStartInfo(Compiler, arguments) { RedirectStandardOutput = true, RedirectStandardError = true };
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(), error = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync();
        return (process.ExitCode, await output, await error);
    }

    private static string? Version()
    {
        try
        {
            return Run(["--version"]).GetAwaiter().GetResult().Output.Split('\n')[0];
        }
        catch (Win32Exception)
        {
            return null;
        }
    }
}
