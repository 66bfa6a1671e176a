using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Generator.Tests;

/// <summary>The header and the .cuh files of this checkout.</summary>
internal static class Sources
{
    private static readonly Lazy<(SourceFile Header, IReadOnlyList<SourceFile> Cuda)> s_all = new(() => Outputs.Sources(Root));

    public static string Root
    {
        get
        {
            string? root = SharedFiles.Repository;
            if (root is null || !File.Exists(Path.Combine(root, Outputs.Header)))
                Missing($"{Outputs.Header} is not above '{AppContext.BaseDirectory}'.");
            return root!;
        }
    }

    public static SourceFile Header => s_all.Value.Header;

    public static IReadOnlyList<SourceFile> Cuda => s_all.Value.Cuda;

    /// <summary>A checkout may do without its native part, unless that was built here.</summary>
    public static void Missing(string what)
    {
        if (Environment.GetEnvironmentVariable(BackendTests.RequireVariable) == "1")
            Assert.Fail(what);
        Assert.Skip(what);
    }
}
