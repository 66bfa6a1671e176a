namespace NestedLearning.Generator;

/// <summary>
/// Makes the C# declarations of the native library and of the CUDA kernels, and what the native build checks them by, from the C header
/// and the .cuh files: <c>generate [--check] [ROOT]</c>, with the repository that the current folder is in.
/// </summary>
internal static class Program
{
    public static int Main(string[] args)
    {
        bool check = args is ["--check", ..];
        string[] rest = check ? args[1..] : args;
        if (rest.Length > 1 || (rest.Length == 1 && rest[0].StartsWith('-')))
            return Fail("arguments are [--check] [ROOT]");
        if ((rest.Length == 1 ? rest[0] : Root()) is not { } root || !File.Exists(Path.Combine(root, Outputs.Header)))
            return Fail($"no {Outputs.Header} is in {(rest.Length == 1 ? $"'{rest[0]}'" : "this folder or any above it")}");
        try
        {
            (SourceFile header, IReadOnlyList<SourceFile> cuda) = Outputs.Sources(root);
            SortedDictionary<string, string> files = Outputs.Of(header, cuda);
            if (!check)
                return Write(root, files);
            string[] differences = [.. Outputs.Differences(root, files)];
            foreach (string difference in differences)
                Console.WriteLine(difference);
            return differences.Length == 0 ? 0 : 1;
        }
        catch (SourceException e)
        {
            return Fail(e.Message);
        }
    }

    private static int Write(string root, SortedDictionary<string, string> files)
    {
        int written = 0;
        foreach ((string path, string text) in files)
        {
            string full = Path.Combine(root, path);
            // Files that stay as they are keep their time, so that nothing is built again for them.
            if (File.Exists(full) && File.ReadAllText(full) == text)
                continue;
            Directory.CreateDirectory(Path.GetDirectoryName(full)!);
            File.WriteAllText(full, text);
            Console.WriteLine($"written {path}");
            written++;
        }

        foreach (string path in Outputs.Strangers(root, files).ToArray())
        {
            File.Delete(Path.Combine(root, path));
            Console.WriteLine($"deleted {path}");
        }

        Console.WriteLine($"{files.Count} files, {written} of them changed");
        return 0;
    }

    private static string? Root()
    {
        string? folder = Directory.GetCurrentDirectory();
        while (folder is not null && !File.Exists(Path.Combine(folder, "NestedLearning.sln")))
            folder = Path.GetDirectoryName(folder);
        return folder;
    }

    private static int Fail(string message)
    {
        Console.Error.WriteLine($"generate: {message}");
        return 2;
    }
}
