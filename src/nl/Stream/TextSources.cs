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
    /// <param name="paths">Text files, perhaps compressed by gzip, or folders of them.</param>
    /// <param name="bytes">How much text a phase should have; the rest is not read.</param>
    /// <param name="note">Is told what of a folder was left out, and why.</param>
    /// <exception cref="StreamException">A path does not exist, cannot be read or has no text.</exception>
    public static IReadOnlyList<PhaseText> FromPaths(IReadOnlyList<string> paths, int bytes, Action<string>? note = null)
    {
        var texts = new List<PhaseText>();
        foreach (string path in paths)
        {
            string name = Path.GetFileName(Path.TrimEndingDirectorySeparator(Path.GetFullPath(path)));
            if (name.Length == 0)
                name = path;
            int before = texts.Count(t => t.Name == name || t.Name.StartsWith(name + " (", StringComparison.Ordinal));
            texts.Add(FromPath(path, before == 0 ? name : $"{name} ({before + 1})", bytes, note));
        }

        return texts;
    }

    /// <summary>The texts of the files one after the other, at most this many bytes, without those that are not text.</summary>
    /// <exception cref="StreamException">A file cannot be read.</exception>
    internal static byte[] Concatenate(IEnumerable<string> files, int bytes, Action<string>? skipped = null)
    {
        using var text = new MemoryStream();
        foreach (string file in files)
        {
            if (text.Length >= bytes)
                break;
            (byte[] part, string? reason) = Read(file, bytes - (int)text.Length);
            if (reason is not null)
                skipped?.Invoke($"'{file}' is not text: {reason}");
            text.Write(part);
            if (part.Length > 0 && part[^1] != '\n' && text.Length < bytes)
                text.WriteByte((byte)'\n');
        }

        return text.ToArray();
    }

    private static PhaseText FromPath(string path, string name, int bytes, Action<string>? note)
    {
        if (File.Exists(path))
        {
            (byte[] text, string? reason) = Read(path, bytes);
            return reason is null ? new PhaseText(name, path, text) : throw new StreamException($"'{path}' is not text: {reason}.");
        }

        return Directory.Exists(path) ? new PhaseText(name, path, ReadFolder(path, bytes, note))
            : throw new StreamException($"'{path}' does not exist.");
    }

    private static byte[] ReadFolder(string path, int bytes, Action<string>? note)
    {
        // A folder of pictures would say the same a thousand times.
        const int MostNotes = 5;
        var skipped = new List<string>();
        try
        {
            byte[] text = Concatenate(TextFolder.Files(path, skipped: skipped.Add), bytes, skipped.Add);
            return text.Length > 0 ? text : throw new StreamException($"The folder '{path}' has no text files" +
                $"{(skipped.Count > 0 ? $": {string.Join("; ", Notes())}" : "")}.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StreamException($"'{path}' cannot be read: {e.Message}", e);
        }
        finally
        {
            foreach (string text in Notes())
                note?.Invoke($"{text}; left out");
        }

        IEnumerable<string> Notes() =>
            skipped.Take(MostNotes).Concat(skipped.Count > MostNotes ? [$"and {skipped.Count - MostNotes} more of '{path}'"] : []);
    }

    private static TextFile Read(string path, int bytes)
    {
        try
        {
            return TextFile.Read(path, bytes);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or InvalidDataException)
        {
            throw new StreamException($"'{path}' cannot be read: {e.Message}", e);
        }
    }
}
