using System.Globalization;

namespace NestedLearning;

/// <summary>Where a path leads through its links, and what stands there.</summary>
/// <param name="Target">The path at the end of the links; no part of it is a link.</param>
/// <param name="Kind">What stands there; a descriptor of this process that is an ordinary file counts as a pipe.</param>
/// <param name="Status">The status behind the kind.</param>
internal readonly record struct FileDestination(string Target, FileKind Kind, FileStatus Status)
{
    // As many as Linux follows.
    private const int MostLinks = 40;

    /// <exception cref="IOException">A folder of the path is missing, or links lead in a circle.</exception>
    /// <exception cref="UnauthorizedAccessException">A folder on the way may not be searched.</exception>
    public static FileDestination Of(string path)
    {
        string current = Path.GetFullPath(path);
        if (OperatingSystem.IsWindows())
        {
            var file = new FileInfo(current);
            string target = file.LinkTarget is null ? current : file.ResolveLinkTarget(returnFinalTarget: true)!.FullName;
            var status = FileStatus.Of(target);
            return new FileDestination(target, status.Kind, status);
        }

        for (int links = 0; links <= MostLinks; links++)
        {
            // The folder first, as the system does: what is .. in a link depends on where the link really stands.
            string name = Path.GetFileName(current);
            if (name is "" or "." or "..")
                return new FileDestination(current, FileKind.Folder, default);
            string folder = UnixFiles.RealPath(Path.GetDirectoryName(current)!);
            string resolved = Path.Combine(folder, name);
            if (IsDescriptorFolder(folder))
                return OfDescriptor(resolved);
            var status = FileStatus.Of(resolved, followLinks: false);
            if (status.Kind != FileKind.Link)
                return new FileDestination(resolved, status.Kind, status);
            current = Path.Combine(folder, new FileInfo(resolved).LinkTarget ?? "");
        }

        throw new IOException($"'{path}': its links lead in a circle.");
    }

    /// <summary>A stream to what cannot be replaced.</summary>
    public Stream OpenDirectly()
    {
        // The standard streams have a position that the process shares with whoever started it.
        string own = string.Create(CultureInfo.InvariantCulture, $"/proc/{Environment.ProcessId}/fd/");
        if (Target == own + "1" || Target == "/dev/fd/1")
            return Console.OpenStandardOutput();
        if (Target == own + "2" || Target == "/dev/fd/2")
            return Console.OpenStandardError();
        return new FileStream(Target, new FileStreamOptions
        {
            Mode = FileMode.Open, Access = FileAccess.Write, Share = FileShare.ReadWrite | FileShare.Delete, BufferSize = 0,
        });
    }

    /// <exception cref="UnauthorizedAccessException">The file may not be written.</exception>
    public void RequireWritable(string path)
    {
        if (Status.IsReadOnly)
        {
            string mode = OperatingSystem.IsWindows() ? "" : $" (mode {Convert.ToString((int)Status.Mode, 8).PadLeft(4, '0')})";
            throw new UnauthorizedAccessException($"'{path}' is read-only{mode}; it is as it was.");
        }

        if (!OperatingSystem.IsWindows())
            UnixFiles.RequireWriteAccess(path, Target);
    }

    // Linux has them in /proc, and /dev/fd is a link to there; macOS has them in /dev/fd.
    private static bool IsDescriptorFolder(string folder) =>
        folder == "/dev/fd" || (folder.StartsWith("/proc/", StringComparison.Ordinal) && folder.EndsWith("/fd", StringComparison.Ordinal));

    private static FileDestination OfDescriptor(string path)
    {
        var status = FileStatus.Of(path);
        return new FileDestination(path, status.Kind == FileKind.Regular ? FileKind.Pipe : status.Kind, status);
    }
}
