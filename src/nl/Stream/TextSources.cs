using System.IO.Compression;
using System.IO.Enumeration;

namespace NestedLearning.CommandLine.Streaming;

/// <summary>Finds the text of the phases: files and folders, or what every machine with the SDK has.</summary>
internal static class TextSources
{
    /// <summary>
    /// English prose from the SDK's documentation, then source code of this repository, then more of the prose.
    /// </summary>
    /// <param name="bytes">How much text a phase should have.</param>
    /// <exception cref="StreamException">The prose or the code is missing; the message says where it was looked for.</exception>
    public static IReadOnlyList<PhaseText> Default(int bytes) =>
        Default(bytes, DocumentationProse.Roots(), RepositoryCode.StartingPoints());

    public static IReadOnlyList<PhaseText> Default(int bytes, IReadOnlyList<string> dotnetRoots, IReadOnlyList<string> repositoryStarts)
    {
        // The code first: finding it, or not, takes no time.
        PhaseText code = RepositoryCode.Read(repositoryStarts, bytes);
        (byte[] prose, string source) = DocumentationProse.Read(dotnetRoots, 2 * bytes);
        int half = Math.Min(bytes, prose.Length / 2);
        return
        [
            new PhaseText("prose", source, prose[..half]),
            code,
            new PhaseText("prose again", $"{source}, another part", prose[half..]),
        ];
    }

    /// <summary>One phase for each path, in their order.</summary>
    /// <param name="paths">Text files, perhaps compressed (<c>.gz</c>), or folders of them.</param>
    /// <param name="bytes">How much text a phase should have; the rest is not read.</param>
    /// <exception cref="StreamException">A path does not exist, cannot be read or has no text.</exception>
    public static IReadOnlyList<PhaseText> FromPaths(IReadOnlyList<string> paths, int bytes)
    {
        var texts = new List<PhaseText>();
        foreach (string path in paths)
        {
            string name = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(path)));
            if (name.Length == 0)
                name = path;
            int before = texts.Count(t => t.Name == name || t.Name.StartsWith(name + " (", StringComparison.Ordinal));
            texts.Add(FromPath(path, before == 0 ? name : $"{name} ({before + 1})", bytes));
        }

        return texts;
    }

    private static PhaseText FromPath(string path, string name, int bytes)
    {
        try
        {
            if (File.Exists(path))
                return new PhaseText(name, path,
                    ReadText(path, bytes) ?? throw new StreamException($"'{path}' is not text: it has zero bytes."));
            if (!Directory.Exists(path))
                throw new StreamException($"'{path}' does not exist.");

            byte[] text = Concatenate(Files(path), bytes);
            return text.Length > 0 ? new PhaseText(name, path, text) : throw new StreamException($"The folder '{path}' has no text files.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            throw new StreamException($"'{path}' cannot be read: {e.Message}", e);
        }
    }

    /// <summary>The files below a folder, hidden ones aside, in the order of their characters' code whatever the system.</summary>
    internal static IReadOnlyList<string> Files(string folder, Func<string, bool>? wantsFolder = null)
    {
        var files = new FileSystemEnumerable<string>(
            folder,
            (ref FileSystemEntry entry) => entry.ToFullPath(),
            new EnumerationOptions { RecurseSubdirectories = true, AttributesToSkip = FileAttributes.System | FileAttributes.ReparsePoint })
        {
            ShouldIncludePredicate = (ref FileSystemEntry entry) => !entry.IsDirectory && !entry.FileName.StartsWith('.'),
            ShouldRecursePredicate = (ref FileSystemEntry entry) =>
                !entry.FileName.StartsWith('.') && wantsFolder?.Invoke(entry.FileName.ToString()) != false,
        };
        return [.. files.OrderBy(f => Path.GetRelativePath(folder, f).Replace('\\', '/'), StringComparer.Ordinal)];
    }

    /// <summary>The texts of the files one after the other, at most this many bytes, without those that are not text.</summary>
    internal static byte[] Concatenate(IEnumerable<string> files, int bytes)
    {
        using var text = new MemoryStream();
        foreach (string file in files)
        {
            if (text.Length >= bytes)
                break;
            if (ReadText(file, bytes - (int)text.Length) is not { } part)
                continue;
            text.Write(part);
            if (part.Length > 0 && part[^1] != '\n' && text.Length < bytes)
                text.WriteByte((byte)'\n');
        }

        return text.ToArray();
    }

    /// <summary>The beginning of a file, or null where it is not text.</summary>
    private static byte[]? ReadText(string path, int bytes)
    {
        using FileStream file = File.OpenRead(path);
        bool compressed = path.EndsWith(".gz", StringComparison.OrdinalIgnoreCase);
        using Stream source = compressed ? new GZipStream(file, CompressionMode.Decompress) : file;
        // A pipe has no length.
        var text = new byte[!compressed && file.CanSeek && file.Length > 0 ? Math.Min(bytes, file.Length) : bytes];
        int length = source.ReadAtLeast(text, text.Length, throwOnEndOfStream: false);
        ReadOnlySpan<byte> read = text.AsSpan(0, length);
        // No text encoding but UTF-16 and UTF-32 has zero bytes, and those are not for a model of bytes.
        if (read.Contains((byte)0))
            return null;
        ReadOnlySpan<byte> mark = [0xEF, 0xBB, 0xBF];
        return (read.StartsWith(mark) ? read[mark.Length..] : read).ToArray();
    }
}
