using System.Text;
using NestedLearning.CommandLine.Tests;

namespace NestedLearning.CommandLine.Streaming.Tests;

/// <summary>Files in a temporary folder.</summary>
internal static class TemporaryFiles
{
    /// <summary>Writes a file and the folders above it.</summary>
    /// <returns>Its whole path.</returns>
    public static string Write(this TemporaryFolder folder, string relative, byte[] contents)
    {
        string path = folder.File(relative);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, contents);
        return path;
    }

    public static string Write(this TemporaryFolder folder, string relative, string text) =>
        folder.Write(relative, Encoding.UTF8.GetBytes(text));
}
