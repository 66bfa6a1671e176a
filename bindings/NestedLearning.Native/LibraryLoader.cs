using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;

namespace NestedLearning.Native;

/// <summary>Finds the native library's file, and says what was tried where it is not found.</summary>
internal static class LibraryLoader
{
    /// <summary>A directory or a file; where set, nothing else is tried.</summary>
    public const string PathVariable = "NESTED_LEARNING_NATIVE";

    /// <summary>The library's file name on this system.</summary>
    public static string FileName =>
        OperatingSystem.IsWindows() ? "nested_learning.dll"
        : OperatingSystem.IsMacOS() ? "libnested_learning.dylib"
        : "libnested_learning.so";

    /// <summary>The portable runtime identifier of this process, such as <c>linux-x64</c>.</summary>
    public static string RuntimeIdentifier
    {
        get
        {
            string system = OperatingSystem.IsWindows() ? "win"
                : OperatingSystem.IsMacOS() ? "osx"
                : RuntimeInformation.RuntimeIdentifier.Contains("musl", StringComparison.Ordinal) ? "linux-musl"
                : "linux";
            string architecture = RuntimeInformation.ProcessArchitecture.ToString().ToLower(CultureInfo.InvariantCulture);
            return $"{system}-{architecture}";
        }
    }

    /// <summary>The files to try, in order.</summary>
    /// <param name="given">The value of <see cref="PathVariable"/>, or null.</param>
    /// <param name="searchDirectories">The host's directories of native files, separated as in PATH, or null.</param>
    /// <param name="baseDirectory">The application's directory.</param>
    public static List<string> Candidates(string? given, string? searchDirectories, string baseDirectory)
    {
        var paths = new List<string>();
        if (!string.IsNullOrEmpty(given))
        {
            paths.Add(Directory.Exists(given) ? Path.Combine(given, FileName) : given);
            return paths;
        }

        Add(baseDirectory);
        Add(Path.Combine(baseDirectory, "runtimes", RuntimeIdentifier, "native"));
        // Where the host resolved a package's native files to; the assembly's own directory is among them.
        foreach (string directory in searchDirectories?.Split(Path.PathSeparator, StringSplitOptions.RemoveEmptyEntries) ?? [])
            Add(directory);
        return paths;

        void Add(string directory)
        {
            string path = Path.Combine(directory, FileName);
            if (!paths.Contains(path))
                paths.Add(path);
        }
    }

    /// <summary>The candidates for this process.</summary>
    public static List<string> Candidates() => Candidates(
        Environment.GetEnvironmentVariable(PathVariable),
        AppContext.GetData("NATIVE_DLL_SEARCH_DIRECTORIES") as string,
        AppContext.BaseDirectory);

    /// <summary>Loads the first candidate that can be loaded.</summary>
    /// <param name="candidates">Files to try.</param>
    /// <param name="failure">Why none could be, or null.</param>
    /// <returns>The library's handle, or 0.</returns>
    public static nint Load(IReadOnlyList<string> candidates, out string? failure)
    {
        string? systemError = null;
        foreach (string path in candidates)
        {
            if (!File.Exists(path))
                continue;
            try
            {
                nint handle = NativeLibrary.Load(path);
                failure = null;
                return handle;
            }
            catch (Exception e) when (e is DllNotFoundException or BadImageFormatException)
            {
                systemError ??= e.Message;
            }
        }

        var message = new StringBuilder();
        message.Append(CultureInfo.InvariantCulture, $"{FileName} for {RuntimeIdentifier} was not loaded. Tried: ");
        message.AppendJoin(", ", candidates);
        message.Append(". ");
        message.Append(systemError is null ? "None of these files exists" : $"The system's error: {systemError.TrimEnd('.', '\n', '\r')}");
        message.Append(CultureInfo.InvariantCulture,
            $". Build it with 'cmake --preset release' and 'cmake --build --preset release', add the package NestedLearning.Native for " +
            $"{RuntimeIdentifier}, or set {PathVariable} to its path.");
        failure = message.ToString();
        return 0;
    }
}
