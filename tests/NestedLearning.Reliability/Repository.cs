using NestedLearning.CommandLine.Streaming;

namespace NestedLearning.Reliability;

internal static class Repository
{
    public static string Root { get; } = RepositoryCode.FindRoot(AppContext.BaseDirectory)
        ?? throw new InvalidOperationException("This runs inside the repository alone.");
}
