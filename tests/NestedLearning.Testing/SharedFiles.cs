using Xunit;

namespace NestedLearning.Testing;

/// <summary>Finds the golden cases, <c>tests/golden</c>, and the repository that a test runs in.</summary>
public static class SharedFiles
{
    /// <summary>The folder of NestedLearning.sln above the running test; null where there is none.</summary>
    public static string? Repository => Above(folder => File.Exists(Path.Combine(folder, "NestedLearning.sln")));

    /// <summary>The folder of the golden cases, of the repository or of an archive of tests that brings them along.</summary>
    /// <exception cref="DirectoryNotFoundException">There is none above the running test: golden cases are never skipped.</exception>
    public static string GoldenFolder => Above(folder => Directory.Exists(Golden(folder))) is { } found
        ? Golden(found)
        : throw new DirectoryNotFoundException($"There is no folder tests/golden in any folder above '{AppContext.BaseDirectory}'.");

    /// <summary>The path of a golden case.</summary>
    /// <exception cref="DirectoryNotFoundException">There are no golden cases.</exception>
    /// <exception cref="FileNotFoundException">There is no such case.</exception>
    public static string GoldenFile(string name)
    {
        string path = Path.Combine(GoldenFolder, name + ".safetensors");
        return File.Exists(path) ? path : throw new FileNotFoundException($"There is no golden case '{path}'.", path);
    }

    /// <summary>The path of a file of the repository; the test is skipped where it does not run in one.</summary>
    /// <param name="parts">Folders and the file's name.</param>
    public static string RequireRepository(params ReadOnlySpan<string> parts)
    {
        if (Repository is not { } repository)
        {
            Assert.Skip($"No folder above '{AppContext.BaseDirectory}' holds NestedLearning.sln: the sources are not here.");
            return "";
        }

        return Path.Combine([repository, .. parts]);
    }

    private static string Golden(string folder) => Path.Combine(folder, "tests", "golden");

    private static string? Above(Func<string, bool> found)
    {
        string? folder = AppContext.BaseDirectory;
        while (folder is not null && !found(folder))
            folder = Path.GetDirectoryName(folder);
        return folder;
    }
}
