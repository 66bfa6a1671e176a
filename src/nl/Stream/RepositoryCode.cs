namespace NestedLearning.CommandLine.Streaming;

/// <summary>The source code of this repository as the text of a phase.</summary>
internal static class RepositoryCode
{
    private const string Marker = "NestedLearning.sln";
    private static readonly string[] s_extensions = [".cs", ".cc", ".cpp", ".h", ".cu"];
    private static readonly string[] s_builtFolders = ["artifacts", "bin", "obj"];

    /// <summary>Where looking for the repository begins, each going up to the root.</summary>
    public static IReadOnlyList<string> StartingPoints() => [Environment.CurrentDirectory, AppContext.BaseDirectory];

    public static PhaseText Read(IReadOnlyList<string> startingPoints, int bytes)
    {
        string root = startingPoints.Select(FindRoot).FirstOrDefault(r => r is not null)
            ?? throw new StreamException(
                $"There is no source code for the second phase: no {Marker} in " +
                $"{string.Join(" or ", startingPoints.Distinct())} or above. " +
                "Run inside the repository, or name the text of each phase: nl stream FILE-OR-FOLDER…");
        IReadOnlyList<string> files = TextFolder.Files(root, folder => !s_builtFolders.Contains(folder), followLinks: false);
        string[] code = [.. files.Where(f => s_extensions.Contains(Path.GetExtension(f)))];

        // In an order that mixes the languages, as a phase may take only a part.
        FixedOrder.Shuffle(code);
        byte[] text = TextSources.Concatenate(code, bytes);
        if (text.Length < PhasePlan.LeastText)
        {
            throw new StreamException(
                $"There is too little source code for the second phase: {text.Length:N0} bytes in {root}, needed are " +
                $"{PhasePlan.LeastText:N0}. " +
                "Name the text of each phase: nl stream FILE-OR-FOLDER…");
        }

        return new PhaseText("code", $"source code in {root}", text);
    }

    /// <summary>The repository that a folder is in, or null.</summary>
    public static string? FindRoot(string start)
    {
        for (DirectoryInfo? folder = new(start); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, Marker)))
                return folder.FullName;
        }

        return null;
    }
}
