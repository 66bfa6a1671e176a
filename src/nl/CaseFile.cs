using NestedLearning.CommandLine.Operations;

namespace NestedLearning.CommandLine;

/// <summary>Case files by path: every error names the file it is about.</summary>
internal static class CaseFile
{
    public const string Extension = ".safetensors";

    /// <summary>Reads a case.</summary>
    /// <exception cref="CaseException">There is no such file, or it cannot be read.</exception>
    public static SafetensorsFile Load(string path)
    {
        if (Directory.Exists(path))
            throw new CaseException($"{path} is a folder, expected a {Extension} file.");
        if (!File.Exists(path))
            throw new CaseException($"{path}: there is no such file.");
        return WithPath(path, () => SafetensorsFile.Load(path));
    }

    /// <summary>The operation of a case, or null when this program lacks it.</summary>
    /// <exception cref="CaseException">The case names none.</exception>
    public static Operation? Operation(string path, SafetensorsFile file) =>
        WithPath(path, () => Operations.Operation.Find(OperationRun.OperationName(file)));

    /// <summary>Runs a case; see <see cref="OperationRun.Execute"/>.</summary>
    public static SafetensorsFile Execute(string path, Operation operation, SafetensorsFile file, Device device) =>
        WithPath(path, () => OperationRun.Execute(operation, file, device));

    /// <summary>The case files that arguments name: files, folders (every case in them), and patterns in a file's name.</summary>
    /// <exception cref="CaseException">An argument names nothing.</exception>
    public static IReadOnlyList<string> Find(IEnumerable<string> arguments)
    {
        List<string> paths = [];
        foreach (string argument in arguments)
        {
            if (Directory.Exists(argument))
                AddMatches(argument, argument, "*" + Extension);
            else if (!File.Exists(argument) && Path.GetFileName(argument).AsSpan().ContainsAny('*', '?'))
                AddMatches(argument, Path.GetDirectoryName(argument) is { Length: > 0 } folder ? folder : ".", Path.GetFileName(argument));
            else
                paths.Add(argument);
        }

        return paths;

        void AddMatches(string argument, string folder, string pattern)
        {
            // Opening a pipe would wait for its other end.
            string[] found = Directory.Exists(folder) ? [.. Directory.GetFiles(folder, pattern)
                .Where(f => FileStatus.Of(f).Kind is FileKind.Regular or FileKind.Missing)] : [];
            if (found.Length == 0)
                throw new CaseException($"{argument}: no {pattern} there.");
            Array.Sort(found, StringComparer.Ordinal);
            paths.AddRange(found);
        }
    }

    private static T WithPath<T>(string path, Func<T> action)
    {
        try
        {
            return action();
        }
        catch (Exception e) when (
            e is CaseException or CheckpointException or ArgumentException or NotFiniteNumberException
                or IOException or UnauthorizedAccessException)
        {
            string message = Program.Describe(e);
            throw new CaseException(message.Contains(path, StringComparison.Ordinal) ? message : $"{path}: {message}", e);
        }
    }
}
