namespace NestedLearning.Generator;

/// <summary>Every generated file, by its path from the repository's root.</summary>
internal static class Outputs
{
    /// <summary>What makes them.</summary>
    public const string Command = "./build.sh generate";

    public const string Header = "native/include/nested_learning.h";

    /// <summary>Folders that hold generated files and nothing else.</summary>
    public const string BindingsFolder = "bindings/NestedLearning.Native/Generated", CudaFolder = "src/NestedLearning.Gpu/Cuda/Generated";

    /// <summary>The sources under a repository's root, parsed.</summary>
    public static (SourceFile Header, IReadOnlyList<SourceFile> Cuda) Sources(string root)
    {
        SourceFile header = HeaderParser.Parse(Header, File.ReadAllText(Path.Combine(root, Header)));
        // A file comes after those that it includes.
        var left = Directory.GetFiles(Path.Combine(root, "native", "kernels"), "*.cuh", SearchOption.AllDirectories)
            .Where(p => !p.EndsWith("-inl.cuh", StringComparison.Ordinal))
            .Select(p => Path.GetRelativePath(root, p).Replace('\\', '/'))
            .Order(StringComparer.Ordinal)
            .ToDictionary(p => p, p => File.ReadAllText(Path.Combine(root, p)));
        var cuda = new List<SourceFile>();
        while (left.Count > 0)
        {
            string path = left.Keys.FirstOrDefault(p =>
                !left.Keys.Any(o => o != p && left[p].Contains($"#include \"{o["native/".Length..]}\"", StringComparison.Ordinal)))
                ?? throw new SourceException(left.Keys.First(), 1, "the files include each other");
            cuda.Add(CudaParser.Parse(path, left[path], cuda));
            left.Remove(path);
        }

        return (header, cuda);
    }

    /// <summary>What is made of the sources.</summary>
    public static SortedDictionary<string, string> Of(SourceFile header, IReadOnlyList<SourceFile> cuda)
    {
        Layout headerLayout = new([header]), cudaLayout = new(cuda);
        var files = new SortedDictionary<string, string>(StringComparer.Ordinal);
        foreach ((string path, string text) in Bindings.Files(header, headerLayout)
            .Concat(CudaBindings.Files(cuda, cudaLayout))
            .Concat(NativeChecks.Files(header, cuda, headerLayout, cudaLayout)))
        {
            files.Add(path, text);
        }

        return files;
    }

    /// <summary>What differs between the files that are made and those that are there, one sentence each.</summary>
    public static IEnumerable<string> Differences(string root, IReadOnlyDictionary<string, string> files)
    {
        foreach ((string path, string text) in files)
        {
            string full = Path.Combine(root, path);
            if (!File.Exists(full))
                yield return $"{path} is missing; {Command} makes it.";
            else if (File.ReadAllText(full).ReplaceLineEndings("\n") != text)
                yield return $"{path} is not what is made of its source; {Command} makes it anew.";
        }

        foreach (string path in Strangers(root, files))
            yield return $"{path} is made of nothing; {Command} deletes it.";
    }

    /// <summary>Files in the generated folders that are not made any more.</summary>
    public static IEnumerable<string> Strangers(string root, IReadOnlyDictionary<string, string> files) =>
        from folder in new[] { BindingsFolder, CudaFolder }
        where Directory.Exists(Path.Combine(root, folder))
        from file in Directory.GetFiles(Path.Combine(root, folder))
        let path = $"{folder}/{Path.GetFileName(file)}"
        where !files.ContainsKey(path)
        select path;
}
