using Xunit;

namespace NestedLearning.Testing;

/// <summary>
/// Finds the golden cases and data sets: <c>../shared</c> beside the folder of NestedLearning.sln, or where
/// <c>NESTED_LEARNING_SHARED</c> points.
/// </summary>
public static class SharedFiles
{
    /// <summary>Names the folder that holds <c>golden</c> and <c>data</c>.</summary>
    public const string Variable = "NESTED_LEARNING_SHARED";

    /// <summary>The folder of NestedLearning.sln above the running test; null where there is none.</summary>
    public static string? Repository
    {
        get
        {
            string? folder = AppContext.BaseDirectory;
            while (folder is not null && !File.Exists(Path.Combine(folder, "NestedLearning.sln")))
                folder = Path.GetDirectoryName(folder);
            return folder;
        }
    }

    /// <summary>The path of a shared file; the test is skipped where it is not there.</summary>
    /// <param name="folder"><c>golden</c> or <c>data</c>.</param>
    /// <param name="file">The file's name.</param>
    public static string Require(string folder, string file)
    {
        string root = Root(out string looked);
        string path = Path.Combine(root, folder, file);
        if (!File.Exists(path))
            Assert.Skip($"'{folder}/{file}' is not in {looked}; {Variable} may name another folder.");
        return path;
    }

    /// <summary>The path of a golden case; the test is skipped where it is not there.</summary>
    public static string Golden(string name) => Require("golden", name + ".safetensors");

    /// <summary>The path of a data set; the test is skipped where it is not there.</summary>
    public static string Data(string file) => Require("data", file);

    private static string Root(out string looked)
    {
        string? set = Environment.GetEnvironmentVariable(Variable);
        if (!string.IsNullOrEmpty(set))
        {
            looked = $"'{set}' (from {Variable})";
            return set;
        }

        if (Repository is { } repository)
        {
            string shared = Path.GetFullPath(Path.Combine(repository, "..", "shared"));
            looked = $"'{shared}'";
            return shared;
        }

        looked = $"any folder above '{AppContext.BaseDirectory}' with NestedLearning.sln";
        return AppContext.BaseDirectory;
    }
}
