using System.Runtime.InteropServices;
using System.Runtime.Versioning;
using System.Text;
using Xunit;

namespace NestedLearning.Tests;

public sealed partial class SafeFileTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("safe-file-").FullName;

    private string FilePath => Path.Combine(_folder, "file");

    public static TheoryData<string> Writers => ["text", "safetensors"];

    public void Dispose()
    {
        if (Directory.Exists(_folder))
            Directory.Delete(_folder, recursive: true);
    }

    [Theory]
    [MemberData(nameof(Writers))]
    public void Link_IsFollowedAndStays(string writer)
    {
        RequireUnix();
        // A link's .. counts from where the link stands, not from the path that led to it.
        Directory.CreateDirectory(Path.Combine(_folder, "store", "v2"));
        Directory.CreateDirectory(Path.Combine(_folder, "blobs"));
        Directory.CreateDirectory(Path.Combine(_folder, "store", "blobs"));
        string target = Path.Combine(_folder, "store", "blobs", "x");
        File.WriteAllText(target, "old");
        Directory.CreateSymbolicLink(Path.Combine(_folder, "current"), "store/v2");
        File.CreateSymbolicLink(Path.Combine(_folder, "store", "v2", "file"), "../blobs/x");
        File.CreateSymbolicLink(FilePath, "current/file");

        Write(writer, FilePath);
        Assert.Equal("current/file", new FileInfo(FilePath).LinkTarget);
        Assert.Equal("../blobs/x", new FileInfo(Path.Combine(_folder, "store", "v2", "file")).LinkTarget);
        Assert.Null(new FileInfo(target).LinkTarget);
        AssertWritten(writer, target);
        AssertWritten(writer, FilePath);
        Assert.Empty(Directory.GetFiles(Path.Combine(_folder, "blobs")));
        Assert.Equal([target], Directory.GetFiles(Path.Combine(_folder, "store", "blobs")));
    }

    [Theory]
    [MemberData(nameof(Writers))]
    public void DanglingLink_GetsItsTarget(string writer)
    {
        RequireUnix();
        File.CreateSymbolicLink(FilePath, "there");
        Write(writer, FilePath);
        Assert.Equal("there", new FileInfo(FilePath).LinkTarget);
        AssertWritten(writer, Path.Combine(_folder, "there"));
    }

    [Theory]
    [MemberData(nameof(Writers))]
    public void LinksInACircle_AreAnError(string writer)
    {
        RequireUnix();
        File.CreateSymbolicLink(FilePath, "other");
        File.CreateSymbolicLink(Path.Combine(_folder, "other"), "file");
        IOException e = Assert.Throws<IOException>(() => Write(writer, FilePath));
        Assert.Contains("in a circle", e.Message, StringComparison.Ordinal);
        Assert.Equal("other", new FileInfo(FilePath).LinkTarget);
        Assert.Equal(2, Directory.GetFileSystemEntries(_folder).Length);
    }

    [Theory]
    [InlineData("text", 0x180)] // 0600
    [InlineData("text", 0x1A0)] // 0640
    [InlineData("text", 0x1ED)] // 0755
    [InlineData("text", 0x1B6)] // 0666
    [InlineData("safetensors", 0x180)]
    [InlineData("safetensors", 0x1B6)]
    [UnsupportedOSPlatform("windows")]
    public void Mode_IsKept(string writer, int mode)
    {
        RequireUnix();
        File.WriteAllText(FilePath, "old");
        File.SetUnixFileMode(FilePath, (UnixFileMode)mode);
        Write(writer, FilePath);
        Assert.Equal((UnixFileMode)mode, File.GetUnixFileMode(FilePath));
        AssertWritten(writer, FilePath);
    }

    [Fact]
    [UnsupportedOSPlatform("windows")]
    public void Owner_IsKept()
    {
        RequireUnix();
        Assert.SkipUnless(Environment.IsPrivilegedProcess, "Only the superuser may give files away.");
        File.WriteAllText(FilePath, "old");
        File.SetUnixFileMode(FilePath, (UnixFileMode)0x1B0);
        Assert.Equal(0, ChangeOwner(FilePath, 12345, 54321));
        Write("text", FilePath);
        var status = FileStatus.Of(FilePath);
        Assert.Equal((12345u, 54321u, (UnixFileMode)0x1B0), (status.Owner, status.Group, status.Mode));
    }

    [Theory]
    [MemberData(nameof(Writers))]
    [UnsupportedOSPlatform("windows")]
    public void NewFile_HasTheModeThatTheUmaskLeaves(string writer)
    {
        RequireUnix();
        string ordinary = Path.Combine(_folder, "ordinary");
        File.WriteAllText(ordinary, "");
        Write(writer, FilePath);
        Assert.Equal(File.GetUnixFileMode(ordinary), File.GetUnixFileMode(FilePath));
    }

    [Theory]
    [MemberData(nameof(Writers))]
    public async Task Pipe_GetsTheBytesAndStays(string writer)
    {
        RequireUnix();
        Assert.Equal(0, MakePipe(FilePath, 0x180));
        string copy = Path.Combine(_folder, "copy");
        Task reader = Task.Factory.StartNew(() =>
        {
            using FileStream pipe = File.OpenRead(FilePath);
            using FileStream file = File.Create(copy);
            pipe.CopyTo(file);
        }, TestContext.Current.CancellationToken, TaskCreationOptions.LongRunning, TaskScheduler.Default);
        Write(writer, FilePath);
        await reader;
        Assert.Equal(FileKind.Pipe, FileStatus.Of(FilePath).Kind);
        AssertWritten(writer, copy);
        Assert.Equal(2, Directory.GetFileSystemEntries(_folder).Length);
    }

    [Theory]
    [MemberData(nameof(Writers))]
    public void Device_IsWrittenToAndStays(string writer)
    {
        RequireDevices();
        // Through a link too, so that a mistake would not cost the device.
        File.CreateSymbolicLink(FilePath, "/dev/null");
        Write(writer, FilePath);
        Assert.Equal(FileKind.Device, FileStatus.Of("/dev/null").Kind);
        Assert.Equal("/dev/null", new FileInfo(FilePath).LinkTarget);
    }

    [Theory]
    [MemberData(nameof(Writers))]
    public void FullDevice_IsAnError(string writer)
    {
        RequireDevices();
        IOException e = Assert.Throws<IOException>(() => Write(writer, "/dev/full"));
        Assert.Contains("No space left", e.Message, StringComparison.Ordinal);
        Assert.Equal(FileKind.Device, FileStatus.Of("/dev/full").Kind);
    }

    [Theory]
    [MemberData(nameof(Writers))]
    public void ReadOnlyFile_IsRefusedWhoeverAsks(string writer)
    {
        File.WriteAllText(FilePath, "old");
        File.SetAttributes(FilePath, FileAttributes.ReadOnly);
        UnauthorizedAccessException e = Assert.Throws<UnauthorizedAccessException>(() => Write(writer, FilePath));
        Assert.Contains($"'{FilePath}' is read-only", e.Message, StringComparison.Ordinal);
        Assert.Throws<UnauthorizedAccessException>(() => SafeFile.RequireWritable(FilePath));
        Assert.Equal("old", File.ReadAllText(FilePath));
        Assert.Equal([FilePath], Directory.GetFileSystemEntries(_folder));
        File.SetAttributes(FilePath, FileAttributes.Normal);
    }

    [Theory]
    [MemberData(nameof(Writers))]
    public void Folder_IsRefused(string writer)
    {
        Directory.CreateDirectory(FilePath);
        foreach (string path in (string[])[FilePath, FilePath + Path.DirectorySeparatorChar, Path.Combine(FilePath, ".")])
        {
            IOException e = Assert.Throws<IOException>(() => Write(writer, path));
            Assert.Contains($"'{path}' is a folder", e.Message, StringComparison.Ordinal);
            Assert.Throws<IOException>(() => SafeFile.RequireWritable(path));
        }

        Assert.Equal([FilePath], Directory.GetFileSystemEntries(_folder));
    }

    [Fact]
    public void MissingFolder_IsAnErrorOnlyOnWriting()
    {
        string path = Path.Combine(_folder, "missing", "file");
        Assert.Throws<DirectoryNotFoundException>(() => SafeFile.WriteText(path, "new"));
        SafeFile.RequireWritable(path);
    }

    [Fact]
    public void HardLinks_KeepTheOldContents()
    {
        RequireUnix();
        File.WriteAllText(FilePath, "old");
        string other = Path.Combine(_folder, "other");
        Assert.Equal(0, MakeHardLink(FilePath, other));
        Assert.True(SafeFile.AreSame(FilePath, other));
        SafeFile.WriteText(FilePath, "new");
        Assert.Equal(("new", "old"), (File.ReadAllText(FilePath), File.ReadAllText(other)));
        Assert.False(SafeFile.AreSame(FilePath, other));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void FailureOnTheWay_LeavesWhatWasThere(bool exists)
    {
        if (exists)
            File.WriteAllText(FilePath, "old");
        for (int writes = 0; writes < 4; writes++)
        {
            int left = writes;
            Assert.Throws<IOException>(() => SafeFile.Write(FilePath, stream =>
            {
                for (; left > 0; left--)
                    stream.Write(new byte[1 << 16]);
                throw new IOException("The disk is full.");
            }));
            Assert.Equal(exists ? [FilePath] : [], Directory.GetFileSystemEntries(_folder));
            if (exists)
                Assert.Equal("old", File.ReadAllText(FilePath));
        }
    }

    [Fact]
    public void FolderThatVanishes_IsAnError()
    {
        RequireUnix();
        string folder = Path.Combine(_folder, "folder");
        Directory.CreateDirectory(folder);
        Assert.ThrowsAny<IOException>(() => SafeFile.Write(Path.Combine(folder, "file"), stream =>
        {
            stream.WriteByte(1);
            Directory.Delete(folder, recursive: true);
        }));
        Assert.Empty(Directory.GetFileSystemEntries(_folder));
    }

    [Fact]
    public void LongestName_IsWritten()
    {
        string path = Path.Combine(_folder, new string('x', 255));
        SafeFile.WriteText(path, "old");
        SafeFile.WriteText(path, "new");
        Assert.Equal("new", File.ReadAllText(path));
        Assert.Equal([path], Directory.GetFileSystemEntries(_folder));
    }

    [Fact]
    public void AreSame_SeesThroughNamesAndLinks()
    {
        RequireUnix();
        string other = Path.Combine(_folder, "other"), link = Path.Combine(_folder, "link");
        File.CreateSymbolicLink(link, "file");
        Assert.True(SafeFile.AreSame(FilePath, link));
        Assert.False(SafeFile.AreSame(FilePath, other));
        File.WriteAllText(FilePath, "");
        File.WriteAllText(other, "");
        Assert.True(SafeFile.AreSame(FilePath, link));
        Assert.True(SafeFile.AreSame(FilePath, Path.Combine(_folder, "folder", "..", "file")));
        Assert.False(SafeFile.AreSame(FilePath, other));
        Assert.False(SafeFile.AreSame(FilePath, Path.Combine(_folder, "missing", "file")));
        Assert.True(SafeFile.AreSame(Path.Combine(_folder, "missing", "file"), Path.Combine(_folder, "missing", ".", "file")));
        Assert.False(SafeFile.AreSame(_folder, _folder));
    }

    [Fact]
    public void Text_HasNoMark()
    {
        SafeFile.WriteText(FilePath, "größe\n");
        Assert.Equal("größe\n"u8.ToArray(), File.ReadAllBytes(FilePath));
    }

    private static void Write(string writer, string path)
    {
        if (writer == "text")
        {
            SafeFile.WriteText(path, "new");
            return;
        }

        var file = new SafetensorsFile();
        file.Add("x", [1], [1f]);
        file.Save(path);
    }

    private static void AssertWritten(string writer, string path)
    {
        if (writer == "text")
            Assert.Equal("new", File.ReadAllText(path, Encoding.UTF8));
        else
            Assert.Equal(1f, SafetensorsFile.Load(path, requireChecksum: true).Floats("x")[0]);
    }

    private static void RequireUnix() => Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no links, modes and pipes as these.");

    private static void RequireDevices() => Assert.SkipUnless(OperatingSystem.IsLinux(), "The devices are those of Linux.");

    [LibraryImport("libc", EntryPoint = "mkfifo", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MakePipe(string path, uint mode);

    [LibraryImport("libc", EntryPoint = "link", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MakeHardLink(string existing, string path);

    [LibraryImport("libc", EntryPoint = "chown", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int ChangeOwner(string path, uint owner, uint group);
}
