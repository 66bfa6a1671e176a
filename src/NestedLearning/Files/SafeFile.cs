using System.Text;

namespace NestedLearning;

/// <summary>
/// Writes a file as a whole or not at all, so that neither an error, nor a full disk, nor the loss of power leaves half of it.
/// <para>
/// An ordinary file is written beside the old one, synced, given the old one's owner and permissions, and renamed over it; then
/// its folder is synced. Until the rename the old file is as it was, and after any failure nothing of the new one is left. A
/// file that was not there gets the permissions that the process' umask leaves.
/// </para>
/// <list type="bullet">
/// <item>Symbolic links are followed: the file at their end is replaced, or made where there is none, and the links stay.</item>
/// <item>Devices, pipes and the process' open descriptors (<c>/dev/stdout</c>, <c>/dev/fd/3</c>) cannot be replaced; the bytes go to
/// them from first to last.</item>
/// <item>A folder is refused, and so is a file that this process may not write, or that nobody may: the superuser too has to
/// make it writable first.</item>
/// <item>Of a file with several hard links this name alone gets the new contents; the other names keep the old ones.</item>
/// <item>Access control lists and extended attributes are not carried over.</item>
/// </list>
/// </summary>
public static class SafeFile
{
    /// <summary>Writes a file as a whole or not at all.</summary>
    /// <param name="path">Where it is to stand.</param>
    /// <param name="write">Writes the contents, from first to last: the stream may be a pipe and cannot seek then.</param>
    /// <exception cref="IOException">The file cannot be written, or the path is a folder or links that lead in a circle; what was
    /// there is as it was.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be written; it is as it was.</exception>
    public static void Write(string path, Action<Stream> write)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        ArgumentNullException.ThrowIfNull(write);
        FileDestination destination = Require(path);
        if (destination.Kind is FileKind.Regular or FileKind.Missing)
        {
            Replace(destination, write);
            return;
        }

        using Stream stream = destination.OpenDirectly();
        write(stream);
        if (stream is FileStream file)
            file.Flush(flushToDisk: true);
    }

    /// <summary>The same with a text, in UTF-8 without a mark.</summary>
    /// <exception cref="IOException">As <see cref="Write"/>.</exception>
    /// <exception cref="UnauthorizedAccessException">As <see cref="Write"/>.</exception>
    public static void WriteText(string path, string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        byte[] bytes = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false).GetBytes(text);
        Write(path, stream => stream.Write(bytes));
    }

    /// <summary>
    /// Checks what can be known before there is something to write, for what is written only after much work: that the path is no
    /// folder and no file that may not be written. A folder of the path may still be missing.
    /// </summary>
    /// <exception cref="IOException">The path is a folder, or links that lead in a circle.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be written.</exception>
    public static void RequireWritable(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        try
        {
            Require(path);
        }
        catch (DirectoryNotFoundException)
        {
        }
    }

    /// <summary>
    /// Whether two paths are one file, through links too: what is written to the one is then gone from the other. False for what
    /// is not a file, such as a terminal that is both input and output.
    /// </summary>
    /// <exception cref="IOException">Links lead in a circle.</exception>
    /// <exception cref="UnauthorizedAccessException">A folder on the way may not be searched.</exception>
    public static bool AreSame(string first, string second)
    {
        ArgumentException.ThrowIfNullOrEmpty(first);
        ArgumentException.ThrowIfNullOrEmpty(second);
        StringComparison comparison = OperatingSystem.IsWindows() || OperatingSystem.IsMacOS() ? StringComparison.OrdinalIgnoreCase
            : StringComparison.Ordinal;
        FileDestination a, b;
        try
        {
            (a, b) = (FileDestination.Of(first), FileDestination.Of(second));
        }
        catch (DirectoryNotFoundException)
        {
            // A folder that is still to be made.
            return string.Equals(Path.GetFullPath(first), Path.GetFullPath(second), comparison);
        }

        if (a.Kind is not (FileKind.Regular or FileKind.Missing) || b.Kind != a.Kind)
            return false;
        return a.Status.IsSameAs(b.Status) || string.Equals(a.Target, b.Target, comparison);
    }

    private static FileDestination Require(string path)
    {
        var destination = FileDestination.Of(path);
        if (destination.Kind is FileKind.Folder or FileKind.Socket)
            throw new IOException($"'{path}' is a {(destination.Kind == FileKind.Folder ? "folder" : "socket")}, expected a file.");
        if (destination.Kind == FileKind.Regular)
            destination.RequireWritable(path);
        return destination;
    }

    private static void Replace(FileDestination destination, Action<Stream> write)
    {
        string temporary = TemporaryBeside(destination.Target);
        try
        {
            var options = new FileStreamOptions
            {
                Mode = FileMode.CreateNew, Access = FileAccess.Write, Share = FileShare.None, BufferSize = 0,
            };
            // Until it has the old file's owner and permissions nobody else sees what is in it.
            if (destination.Kind == FileKind.Regular && !OperatingSystem.IsWindows())
                options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite;
            using (var stream = new FileStream(temporary, options))
            {
                if (destination.Kind == FileKind.Regular && !OperatingSystem.IsWindows())
                    UnixFiles.CopyOwnerAndMode(destination.Status, temporary, stream.SafeFileHandle);
                write(stream);
                stream.Flush(flushToDisk: true);
            }

            File.Move(temporary, destination.Target, overwrite: true);
        }
        // What .NET makes of a file that grows beyond the system's or the process' limit.
        catch (ArgumentOutOfRangeException e) when (e.ParamName == "value")
        {
            Discard(temporary);
            throw new IOException($"'{destination.Target}': the file would be larger than is allowed here.", e);
        }
        catch
        {
            Discard(temporary);
            throw;
        }

        if (!OperatingSystem.IsWindows())
            UnixFiles.SyncFolder(Path.GetDirectoryName(destination.Target)!);
    }

    // A name that is nearly as long as names can be has no room for more.
    private static string TemporaryBeside(string target)
    {
        const int LongestKept = 100;
        string folder = Path.GetDirectoryName(target)!, name = Path.GetFileName(target);
        string kept = Encoding.UTF8.GetByteCount(name) <= LongestKept ? name + "." : "";
        return Path.Combine(folder, $"{kept}{Path.GetRandomFileName()}.tmp");
    }

    private static void Discard(string temporary)
    {
        try
        {
            File.Delete(temporary);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The failure that led here is the one to report.
        }
    }
}
