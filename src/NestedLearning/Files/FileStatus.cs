using System.Runtime.InteropServices;

namespace NestedLearning;

/// <summary>What stands at a path.</summary>
internal enum FileKind
{
    /// <summary>Nothing.</summary>
    Missing,

    /// <summary>A file of bytes.</summary>
    Regular,

    /// <summary>A folder.</summary>
    Folder,

    /// <summary>A symbolic link, where links are not followed.</summary>
    Link,

    /// <summary>A named pipe.</summary>
    Pipe,

    /// <summary>A character or block device.</summary>
    Device,

    /// <summary>A socket.</summary>
    Socket,
}

/// <summary>
/// What stands at a path, found out without opening it: opening a pipe waits for its other end, and opening a device may do
/// anything.
/// </summary>
/// <param name="Kind">What it is.</param>
/// <param name="Mode">Its permissions; all of them where the system has none.</param>
/// <param name="Owner">Its user; 0 where the system has none.</param>
/// <param name="Group">Its group; 0 where the system has none.</param>
/// <param name="Volume">With <paramref name="Number"/> what tells files apart; 0 where the system does not say.</param>
/// <param name="Number">The inode's number; 0 where the system does not say.</param>
internal readonly partial record struct FileStatus(FileKind Kind, UnixFileMode Mode, uint Owner, uint Group, ulong Volume, ulong Number)
{
    private const UnixFileMode AllModes = (UnixFileMode)0xFFF;
    private const UnixFileMode WriteModes = UnixFileMode.UserWrite | UnixFileMode.GroupWrite | UnixFileMode.OtherWrite;
    private const int NoSuchFile = 2, NotPermitted = 1, AccessDenied = 13, NotAFolder = 20, TooManyLinksLinux = 40, TooManyLinksMac = 62;

    /// <summary>Whether nobody has the permission to write, which binds the superuser too here.</summary>
    public bool IsReadOnly => (Mode & WriteModes) == 0;

    /// <summary>The status of a path; <see cref="FileKind.Missing"/> where there is nothing.</summary>
    /// <param name="path">The path.</param>
    /// <param name="followLinks">Whether a link is what it leads to; one that leads nowhere is missing then.</param>
    /// <exception cref="IOException">Links lead in a circle, or the system cannot say.</exception>
    /// <exception cref="UnauthorizedAccessException">A folder on the way may not be searched.</exception>
    public static FileStatus Of(string path, bool followLinks = true)
    {
        if (OperatingSystem.IsLinux())
            return OfLinux(path, followLinks);
        return OperatingSystem.IsMacOS() ? OfMac(path, followLinks) : OfAttributes(path, followLinks);
    }

    /// <summary>Whether both are the same file by different names, as far as the system says.</summary>
    public bool IsSameAs(FileStatus other) => Number != 0 && Number == other.Number && Volume == other.Volume;

    /// <summary>The exception for an error number of the system.</summary>
    internal static Exception Failure(string path, int error)
    {
        string message = error is TooManyLinksLinux or TooManyLinksMac ? "its links lead in a circle"
            : Marshal.GetPInvokeErrorMessage(error);
        return error is AccessDenied or NotPermitted ? new UnauthorizedAccessException($"'{path}': {message}.")
            : new IOException($"'{path}': {message}.");
    }

    private static FileStatus OfLinux(string path, bool followLinks)
    {
        const int WorkingFolder = -100, NoFollow = 0x100;
        const uint BasicStatus = 0x7FF;
        if (StatusLinux(WorkingFolder, path, followLinks ? 0 : NoFollow, BasicStatus, out LinuxStatus s) != 0)
            return MissingOrFailure(path, Marshal.GetLastPInvokeError());
        return new FileStatus(KindOf(s.Mode), (UnixFileMode)(s.Mode & 0xFFF), s.User, s.Group, (ulong)s.DeviceMajor << 32 | s.DeviceMinor,
            s.Number);
    }

    private static FileStatus OfMac(string path, bool followLinks)
    {
        bool arm = RuntimeInformation.ProcessArchitecture == Architecture.Arm64;
        MacStatus s;
        int failed = followLinks ? arm ? StatusMac(path, out s) : StatusMacX64(path, out s)
            : arm ? LinkStatusMac(path, out s) : LinkStatusMacX64(path, out s);
        return failed != 0 ? MissingOrFailure(path, Marshal.GetLastPInvokeError())
            : new FileStatus(KindOf(s.Mode), (UnixFileMode)(s.Mode & 0xFFF), s.User, s.Group, (uint)s.Device, s.Number);
    }

    private static FileStatus OfAttributes(string path, bool followLinks)
    {
        try
        {
            FileInfo file = new(path);
            if (file.LinkTarget is not null)
            {
                if (!followLinks)
                    return new FileStatus(FileKind.Link, AllModes, 0, 0, 0, 0);
                file = new FileInfo(file.ResolveLinkTarget(returnFinalTarget: true)!.FullName);
            }

            FileAttributes attributes = File.GetAttributes(file.FullName);
            FileKind kind = (attributes & FileAttributes.Directory) != 0 ? FileKind.Folder
                : (attributes & FileAttributes.Device) != 0 ? FileKind.Device : FileKind.Regular;
            bool readOnly = (attributes & FileAttributes.ReadOnly) != 0;
            return new FileStatus(kind, readOnly ? AllModes & ~WriteModes : AllModes, 0, 0, 0, 0);
        }
        catch (Exception e) when (e is FileNotFoundException or DirectoryNotFoundException)
        {
            return default;
        }
    }

    private static FileStatus MissingOrFailure(string path, int error) =>
        error is NoSuchFile or NotAFolder ? default : throw Failure(path, error);

    private static FileKind KindOf(ushort mode) => (mode & 0xF000) switch
    {
        0x4000 => FileKind.Folder,
        0xA000 => FileKind.Link,
        0x1000 => FileKind.Pipe,
        0xC000 => FileKind.Socket,
        0x2000 or 0x6000 => FileKind.Device,
        _ => FileKind.Regular,
    };

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int StatusLinux(int folder, string path, int flags, uint mask, out LinuxStatus status);

    [LibraryImport("libc", EntryPoint = "stat", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int StatusMac(string path, out MacStatus status);

    [LibraryImport("libc", EntryPoint = "lstat", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int LinkStatusMac(string path, out MacStatus status);

    [LibraryImport("libc", EntryPoint = "stat$INODE64", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int StatusMacX64(string path, out MacStatus status);

    [LibraryImport("libc", EntryPoint = "lstat$INODE64", StringMarshalling = StringMarshalling.Utf8, SetLastError = true)]
    private static partial int LinkStatusMacX64(string path, out MacStatus status);

    // struct statx, the same on every architecture (linux/stat.h).
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct LinuxStatus
    {
        [FieldOffset(20)]
        public uint User;

        [FieldOffset(24)]
        public uint Group;

        [FieldOffset(28)]
        public ushort Mode;

        [FieldOffset(32)]
        public ulong Number;

        [FieldOffset(136)]
        public uint DeviceMajor;

        [FieldOffset(140)]
        public uint DeviceMinor;
    }

    // struct stat with 64-bit inode numbers (sys/stat.h).
    [StructLayout(LayoutKind.Explicit, Size = 144)]
    private struct MacStatus
    {
        [FieldOffset(0)]
        public int Device;

        [FieldOffset(4)]
        public ushort Mode;

        [FieldOffset(8)]
        public ulong Number;

        [FieldOffset(16)]
        public uint User;

        [FieldOffset(20)]
        public uint Group;
    }
}
