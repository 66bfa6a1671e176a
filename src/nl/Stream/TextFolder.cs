using System.Globalization;

namespace NestedLearning.CommandLine.Streaming;

/// <summary>The files below a folder.</summary>
internal sealed class TextFolder
{
    private static readonly EnumerationOptions s_all = new() { AttributesToSkip = 0, IgnoreInaccessible = false };
    private readonly bool _followLinks;
    private readonly Func<string, bool>? _wantsFolder;
    private readonly Action<string> _skipped;
    private readonly List<string> _files = [];
    private readonly HashSet<string> _seen = new(StringComparer.Ordinal);
    private readonly Stack<string> _above = new();

    private TextFolder(bool followLinks, Func<string, bool>? wantsFolder, Action<string>? skipped)
    {
        _followLinks = followLinks;
        _wantsFolder = wantsFolder;
        _skipped = skipped ?? (_ => { });
    }

    /// <summary>
    /// The files below a folder, hidden ones aside, in the order of their characters' code whatever the system. Links are followed,
    /// and every file and folder counts once, by whatever name it is met first. What is neither file nor folder is never opened: a
    /// pipe would wait for its other end.
    /// </summary>
    /// <param name="folder">The folder.</param>
    /// <param name="wantsFolder">Whether to go into a folder of this name; null is every one.</param>
    /// <param name="followLinks">Whether links count at all.</param>
    /// <param name="skipped">Is told what was left out that was there to be read, and why.</param>
    public static IReadOnlyList<string> Files(string folder, Func<string, bool>? wantsFolder = null, bool followLinks = true,
        Action<string>? skipped = null)
    {
        var walk = new TextFolder(followLinks, wantsFolder, skipped);
        walk.Enter(folder, FileStatus.Of(folder));
        return walk._files;
    }

    private void Enter(string folder, FileStatus status)
    {
        string identity = Identity(folder, status);
        if (_above.Contains(identity))
        {
            _skipped($"'{folder}' leads back to a folder that it is in");
            return;
        }

        if (!_seen.Add(identity))
            return;
        _above.Push(identity);
        foreach ((string path, FileStatus entry) in Entries(folder))
        {
            if (entry.Kind == FileKind.Folder)
                Enter(path, entry);
            else if (_seen.Add(Identity(path, entry)))
                _files.Add(path);
        }

        _above.Pop();
    }

    // Files and folders, sorted as whole paths are: "a/z" behind "a.txt".
    private List<(string Path, FileStatus Status)> Entries(string folder)
    {
        var entries = new List<(string Path, FileStatus Status)>();
        try
        {
            foreach (string path in Directory.EnumerateFileSystemEntries(folder, "*", s_all))
            {
                string name = Path.GetFileName(path);
                if (!name.StartsWith('.') && Find(path, name) is { } status
                    && (status.Kind != FileKind.Folder || _wantsFolder?.Invoke(name) != false))
                    entries.Add((path, status));
            }
        }
        catch (UnauthorizedAccessException e)
        {
            _skipped(e.Message.TrimEnd('.'));
        }

        entries.Sort((a, b) => string.CompareOrdinal(SortKey(a), SortKey(b)));
        return entries;

        static string SortKey((string Path, FileStatus Status) entry) =>
            Path.GetFileName(entry.Path) + (entry.Status.Kind == FileKind.Folder ? "/" : "");
    }

    private FileStatus? Find(string path, string name)
    {
        try
        {
            FileStatus status = FileStatus.Of(path, followLinks: false);
            if (status.Kind == FileKind.Link)
            {
                if (!_followLinks)
                    return null;
                status = FileStatus.Of(path);
            }

            if (status.Kind is FileKind.Regular or FileKind.Folder)
                return status;
            _skipped($"'{path}' {Describe(status.Kind, name)}");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            _skipped(e.Message.TrimEnd('.'));
        }

        return null;
    }

    private static string Describe(FileKind kind, string name) => kind switch
    {
        FileKind.Pipe => "is a named pipe",
        FileKind.Device => "is a device",
        FileKind.Socket => "is a socket",
        // What is no character of the system's encoding comes as this one, and no file is found by it.
        _ when name.Contains('\uFFFD', StringComparison.Ordinal) => "has a name that is not UTF-8",
        _ => "is a link to nothing",
    };

    private static string Identity(string path, FileStatus status)
    {
        if (status.Number != 0)
            return string.Create(CultureInfo.InvariantCulture, $"{status.Volume}:{status.Number}");
        FileSystemInfo info = status.Kind == FileKind.Folder ? new DirectoryInfo(path) : new FileInfo(path);
        return info.LinkTarget is null ? info.FullName : info.ResolveLinkTarget(returnFinalTarget: true)!.FullName;
    }
}
