using System.Diagnostics;
using System.Text;
using NestedLearning.CommandLine.Tests;
using Xunit;

namespace NestedLearning.CommandLine.Streaming.Tests;

public sealed class TextFolderTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly List<string> _notes = [];

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Links_AreFollowed()
    {
        RequireUnix();
        // As Hugging Face's cache has them: names are links to files by their hashes.
        _folder.Write("blobs/1", "first\n");
        _folder.Write("blobs/2", "second\n");
        _folder.Write("elsewhere/c.txt", "third\n");
        Directory.CreateDirectory(_folder.File("text"));
        File.CreateSymbolicLink(_folder.File("text/a.txt"), "../blobs/1");
        File.CreateSymbolicLink(_folder.File("text/b.txt"), _folder.File("blobs/2"));
        Directory.CreateSymbolicLink(_folder.File("text/more"), "../elsewhere");
        Assert.Equal("first\nsecond\nthird\n", Read());
        Directory.CreateSymbolicLink(_folder.File("link"), "text");
        Assert.Equal("first\nsecond\nthird\n", Encoding.UTF8.GetString(TextSources.FromPaths([_folder.File("link")], 1000)[0].Bytes));
        Assert.Empty(_notes);
    }

    [Fact]
    public void LinkToAFolderAbove_IsNoCircle()
    {
        RequireUnix();
        _folder.Write("text/a.txt", "a\n");
        _folder.Write("text/deep/b.txt", "b\n");
        Directory.CreateSymbolicLink(_folder.File("text/deep/up"), "..");
        Directory.CreateSymbolicLink(_folder.File("text/deep/self"), ".");
        File.CreateSymbolicLink(_folder.File("text/one"), "other");
        File.CreateSymbolicLink(_folder.File("text/other"), "one");
        Assert.Equal("a\nb\n", Read());
        Assert.Equal(4, _notes.Count);
        Assert.Contains(_notes, n => n.Contains("up' leads back to a folder that it is in", StringComparison.Ordinal));
        Assert.Contains(_notes, n => n.Contains("self' leads back", StringComparison.Ordinal));
        Assert.Contains(_notes, n => n.Contains("one': its links lead in a circle", StringComparison.Ordinal));
    }

    [Fact]
    public void WhatIsMetTwice_IsReadOnce()
    {
        RequireUnix();
        _folder.Write("text/blobs/1", "text\n");
        Directory.CreateDirectory(_folder.File("text/names"));
        File.CreateSymbolicLink(_folder.File("text/names/a.txt"), "../blobs/1");
        Directory.CreateSymbolicLink(_folder.File("text/same"), "blobs");
        Assert.Equal("text\n", Read());
        Assert.Empty(_notes);
    }

    [Fact]
    public void PipesAndDeadLinks_AreLeftOutWithAWord()
    {
        RequireUnix();
        _folder.Write("text/a.txt", "a\n");
        _folder.Write("text/z.txt", "z\n");
        Shell($"mkfifo '{_folder.File("text/pipe")}'");
        File.CreateSymbolicLink(_folder.File("text/gone"), "nowhere");
        File.CreateSymbolicLink(_folder.File("text/null"), "/dev/null");
        Assert.Equal("a\nz\n", Read());
        Assert.Equal(
            [$"'{_folder.File("text/gone")}' is a link to nothing; left out", $"'{_folder.File("text/null")}' is a device; left out",
                $"'{_folder.File("text/pipe")}' is a named pipe; left out"],
            _notes.Order(StringComparer.Ordinal));
    }

    [Fact]
    public void NameThatIsNotUtf8_DoesNotRefuseTheFolder()
    {
        Assert.SkipUnless(OperatingSystem.IsLinux(), "Only Linux has names that are not text.");
        _folder.Write("text/a.txt", "a\n");
        Shell($"printf x > \"{_folder.File("text")}/$(printf 'caf\\351').txt\"");
        Assert.Equal(2, Directory.GetFiles(_folder.File("text")).Length);
        Assert.Equal("a\n", Read());
        Assert.Contains("has a name that is not UTF-8", Assert.Single(_notes), StringComparison.Ordinal);
        Shell($"rm \"{_folder.File("text")}\"/caf*");
    }

    [Fact]
    public void MembersThatAreNotText_AreLeftOutWithAWord()
    {
        _folder.Write("text/a.txt", "a\n");
        _folder.Write("text/b.txt", [.. "\uFEFFutf-16"u8.ToArray().SelectMany(b => new[] { b, (byte)0 })]);
        _folder.Write("text/c.txt", [0xFF, 0xFE, .. Encoding.Unicode.GetBytes("utf-16")]);
        _folder.Write("text/d.png", [1, 2, 0, 4]);
        Assert.Equal("a\n", Read());
        Assert.Equal(3, _notes.Count);
        Assert.Contains("c.txt' is not text: it is UTF-16", _notes[1], StringComparison.Ordinal);
        Assert.Contains("d.png' is not text: it has a zero byte, at byte 2", _notes[2], StringComparison.Ordinal);
        for (int i = 0; i < 20; i++)
            _folder.Write($"text/e{i}.png", [0]);
        _notes.Clear();
        Assert.Equal("a\n", Read());
        Assert.Equal($"and 18 more of '{_folder.File("text")}'; left out", _notes[^1]);
        Assert.Equal(6, _notes.Count);
    }

    [Fact]
    public void FolderWithoutText_SaysWhy()
    {
        _folder.Write("text/d.png", [1, 2, 0, 4]);
        string message = Assert.Throws<StreamException>(Read).Message;
        Assert.Contains($"'{_folder.File("text")}' has no text files: ", message, StringComparison.Ordinal);
        Assert.Contains("d.png' is not text", message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("FFFE6100", "it is UTF-16, expected UTF-8")]
    [InlineData("FEFF0061", "it is UTF-16, expected UTF-8")]
    [InlineData("FFFE4E2D", "it is UTF-16, expected UTF-8")]
    [InlineData("FFFE000061000000", "it is UTF-32, expected UTF-8")]
    [InlineData("0000FEFF00000061", "it is UTF-32, expected UTF-8")]
    [InlineData("610062006300640065006600", "it looks like UTF-16 without a mark")]
    [InlineData("006100620063006400650066", "it looks like UTF-16 without a mark")]
    [InlineData("61626300646566", "it has a zero byte, at byte 3.")]
    [InlineData("6162630064656600", "it has 2 zero bytes, the first at byte 3.")]
    [InlineData("28B52FFD0461", "it is compressed by zstd, expected plain text or gzip")]
    [InlineData("FD377A585A000004", "it is compressed by xz")]
    [InlineData("425A683931415926", "it is compressed by bzip2")]
    [InlineData("504B0304140000", "it is compressed by zip")]
    public void FileThatIsNotText_IsNamedAsWhatItIs(string hex, string reason)
    {
        string path = _folder.Write("file.txt", Convert.FromHexString(hex));
        string message = Assert.Throws<StreamException>(() => TextSources.FromPaths([path], 1000)).Message;
        Assert.Contains($"'{path}' is not text: {reason}", message, StringComparison.Ordinal);
    }

    /// <summary>
    /// Opening a pipe without a writer waits for ever, but not once it is asked to end. Ctrl-C goes the same way, and cannot be sent
    /// where whoever started the tests had it ignored.
    /// </summary>
    [Fact]
    public async Task FirstRequestToEnd_EndsWaitingForAPipe()
    {
        RequireUnix();
        string pipe = _folder.File("pipe");
        Shell($"mkfifo '{pipe}'");
        var start = new ProcessStartInfo("dotnet",
            [Path.Combine(AppContext.BaseDirectory, "nl.dll"), "stream", pipe, "--bytes", "4096", "--out", _folder.File("out"), "--device",
                "managed"])
        {
            RedirectStandardOutput = true, RedirectStandardError = true,
        };
        // For debuggers the runtime waits at pipes of its own.
        start.Environment["DOTNET_EnableDiagnostics"] = "0";
        using Process process = Process.Start(start)!;
        CancellationToken stop = TestContext.Current.CancellationToken;
        // Until it opens the pipe, which the system shows of the process' threads.
        for (int i = 0; i < 200 && !process.HasExited && !IsOpening(process.Id); i++)
            await Task.Delay(50, stop);
        Assert.False(process.HasExited);
        Shell($"kill -TERM {process.Id}");
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(stop);
        patience.CancelAfter(TimeSpan.FromSeconds(20));
        try
        {
            await process.WaitForExitAsync(patience.Token);
        }
        catch (OperationCanceledException)
        {
            process.Kill();
            throw;
        }

        Assert.Equal(ExitStatus.Interrupted, process.ExitCode);
    }

    [Fact]
    public async Task PipeNamedDirectly_IsRead()
    {
        RequireUnix();
        string pipe = _folder.File("pipe");
        Shell($"mkfifo '{pipe}'");
        var writer = Task.Run(() => File.WriteAllBytes(pipe, "text"u8.ToArray()), TestContext.Current.CancellationToken);
        Assert.Equal("text"u8.ToArray(), TextSources.FromPaths([pipe], 1000)[0].Bytes);
        await writer;
    }

    private string Read() => Encoding.UTF8.GetString(TextSources.FromPaths([_folder.File("text")], 1000, _notes.Add)[0].Bytes);

    private static bool IsOpening(int process)
    {
        if (!OperatingSystem.IsLinux())
            return false;
        try
        {
            // The kernel's function in which the opening of a pipe waits.
            return Directory.GetDirectories($"/proc/{process}/task").Any(
                t => File.ReadAllText(Path.Combine(t, "wchan")) is "wait_for_partner" or "fifo_open");
        }
        catch (IOException)
        {
            return false;
        }
    }

    private static void Shell(string command)
    {
        using Process process = Process.Start("bash", ["-c", command]);
        process.WaitForExit();
        Assert.Equal(0, process.ExitCode);
    }

    private static void RequireUnix() => Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no links and pipes as these.");
}
