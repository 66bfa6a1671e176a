using System.Runtime.InteropServices;
using System.Runtime.Versioning;
using Microsoft.Win32.SafeHandles;

namespace NestedLearning;

/// <summary>What .NET's files lack of a Unix system's.</summary>
[UnsupportedOSPlatform("windows")]
internal static partial class UnixFiles
{
    private const int NotPermitted = 1, NoSuchFile = 2, Interrupted = 4, AccessDenied = 13, InvalidArgument = 22, ReadOnlySystem = 30;
    private const UnixFileMode GroupModes = UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.GroupExecute;

    /// <summary>An existing path without links.</summary>
    /// <exception cref="DirectoryNotFoundException">It does not exist.</exception>
    /// <exception cref="IOException">Its links lead in a circle, or a part of it is not a folder.</exception>
    /// <exception cref="UnauthorizedAccessException">A folder on the way may not be searched.</exception>
    public static string RealPath(string path)
    {
        nint resolved = Resolve(path, 0);
        if (resolved == 0)
        {
            int error = Marshal.GetLastPInvokeError();
            throw error == NoSuchFile ? new DirectoryNotFoundException($"There is no folder '{path}'.") : FileStatus.Failure(path, error);
        }

        try
        {
            return Marshal.PtrToStringUTF8(resolved)!;
        }
        finally
        {
            Free(resolved);
        }
    }

    /// <exception cref="UnauthorizedAccessException">This process may not write the file.</exception>
    public static void RequireWriteAccess(string path, string target)
    {
        const int Write = 2;
        if (Access(target, Write) != 0)
            throw FileStatus.Failure(path, Marshal.GetLastPInvokeError());
    }

    /// <summary>
    /// Gives a file another's owner and permissions. Where the owner may not be given away the group is, and where that may not
    /// be either, its permissions are those of everybody: nobody may read what they could not before.
    /// </summary>
    public static void CopyOwnerAndMode(FileStatus from, string path, SafeFileHandle to)
    {
        const uint Unchanged = uint.MaxValue;
        var status = FileStatus.Of(path);
        UnixFileMode mode = from.Mode;
        int descriptor = (int)to.DangerousGetHandle();
        if ((status.Owner, status.Group) != (from.Owner, from.Group) && ChangeOwner(descriptor, from.Owner, from.Group) != 0
            && status.Group != from.Group && ChangeOwner(descriptor, Unchanged, from.Group) != 0)
            mode = (mode & ~GroupModes) | (mode & (UnixFileMode)((int)(mode & (UnixFileMode)7) << 3));
        // Some file systems have one mode for all files, and refuse to be told.
        if (status.Mode != mode)
            File.SetUnixFileMode(to, mode);
    }

    /// <summary>Puts a folder's names on the disk, so that a rename in it survives the loss of power.</summary>
    /// <exception cref="IOException">The disk reports an error.</exception>
    public static void SyncFolder(string folder)
    {
        int closeOnExec = OperatingSystem.IsMacOS() ? 0x1000000 : 0x80000;
        int descriptor = Open(folder, closeOnExec);
        if (descriptor < 0)
        {
            // A folder that may be written and not read cannot be opened; then the system syncs it in its own time.
            int error = Marshal.GetLastPInvokeError();
            if (error is AccessDenied or NotPermitted)
                return;
            throw NotSynced(error);
        }

        try
        {
            int failed, error = 0;
            do
            {
                failed = Sync(descriptor);
                error = failed == 0 ? 0 : Marshal.GetLastPInvokeError();
            }
            while (error == Interrupted);

            // File systems without a way to sync a folder say so.
            if (failed != 0 && error is not (InvalidArgument or ReadOnlySystem))
                throw NotSynced(error);
        }
        finally
        {
            _ = Close(descriptor);
        }

        IOException NotSynced(int error) =>
            new($"The file is written, but its folder '{folder}' cannot be synced: {Marshal.GetPInvokeErrorMessage(error)}.");
    }

    [LibraryImport("libc", EntryPoint = "realpath", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial nint Resolve(string path, nint buffer);

    [LibraryImport("libc", EntryPoint = "free")]
    private static partial void Free(nint memory);

    [LibraryImport("libc", EntryPoint = "access", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int Access(string path, int mode);

    [LibraryImport("libc", EntryPoint = "fchown", SetLastError = true)]
    private static partial int ChangeOwner(int descriptor, uint owner, uint group);

    [LibraryImport("libc", EntryPoint = "open", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int Open(string path, int flags);

    [LibraryImport("libc", EntryPoint = "fsync", SetLastError = true)]
    private static partial int Sync(int descriptor);

    [LibraryImport("libc", EntryPoint = "close", SetLastError = true)]
    private static partial int Close(int descriptor);
}
