using System.Diagnostics;
using NestedLearning.CommandLine.Streaming;
using NestedLearning.CommandLine.Streaming.Tests;
using Xunit;

namespace NestedLearning.CommandLine.Tests;

/// <summary>Where results go: through links, to pipes, and never over what may not be lost.</summary>
public sealed class OutputTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Op_FollowsLinks()
    {
        RequireUnix();
        File.WriteAllText(_folder.File("target"), "old");
        File.CreateSymbolicLink(_folder.File("link"), "target");
        Assert.Equal(ExitStatus.Success, Op(Case(4), _folder.File("link")).Status);
        Assert.Equal("target", new FileInfo(_folder.File("link")).LinkTarget);
        Assert.Equal(2f, SafetensorsFile.Load(_folder.File("target")).Floats("out.x")[0]);
    }

    [Fact]
    public void Op_RefusesItsOwnCase()
    {
        string input = Case(4);
        byte[] before = File.ReadAllBytes(input);
        string[] names = [input, _folder.File("no/../case.safetensors")];
        if (!OperatingSystem.IsWindows())
        {
            File.CreateSymbolicLink(_folder.File("link"), "case.safetensors");
            names = [.. names, _folder.File("link")];
        }

        foreach (string name in names)
        {
            CommandLineRun run = Op(input, name);
            Assert.Equal(ExitStatus.BadInput, run.Status);
            Assert.Contains("is the case itself", run.Error, StringComparison.Ordinal);
            Assert.Equal(before, File.ReadAllBytes(input));
        }
    }

    [Theory]
    [InlineData("read-only", "is read-only")]
    [InlineData("folder", "is a folder")]
    [InlineData("nowhere/file", "There is no folder")]
    public void Op_SaysWhyAnOutputIsRefused(string output, string reason)
    {
        File.WriteAllText(_folder.File("read-only"), "old");
        File.SetAttributes(_folder.File("read-only"), FileAttributes.ReadOnly);
        Directory.CreateDirectory(_folder.File("folder"));
        CommandLineRun run = Op(Case(4), _folder.File(output));
        Assert.Equal(ExitStatus.BadInput, run.Status);
        Assert.Contains(reason, run.Error, StringComparison.Ordinal);
        Assert.Contains(output, run.Error, StringComparison.Ordinal);
        Assert.Equal("old", File.ReadAllText(_folder.File("read-only")));
        File.SetAttributes(_folder.File("read-only"), FileAttributes.Normal);
    }

    [Fact]
    public void Op_WritesToTheStandardOutput()
    {
        RequireUnix();
        string input = Case(1000), piped = _folder.File("piped"), appended = _folder.File("appended"), expected = _folder.File("expected");
        Assert.Equal(ExitStatus.Success, Op(input, expected).Status);
        string op = $"{Nl} op '{input}' --device managed --out";
        // A file that the shell has opened has a position, which is the shell's too.
        (int status, string error) = Shell($"{op} /dev/stdout | cat > '{piped}' && (printf first; {op} /dev/stdout; printf last) > " +
            $"'{appended}' && {op} /proc/self/fd/1 >> '{appended}'");
        Assert.Equal((0, ""), (status, error));
        byte[] bytes = File.ReadAllBytes(expected);
        Assert.Equal(bytes, File.ReadAllBytes(piped));
        Assert.Equal([.. "first"u8, .. bytes, .. "last"u8, .. bytes], File.ReadAllBytes(appended));
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void Op_WithoutRoomForItsResult_LeavesTheOldFile(bool exists)
    {
        RequireUnix();
        string input = Case(100_000), output = _folder.File("result.safetensors");
        if (exists)
            File.WriteAllText(output, "old");
        string[] before = [.. Directory.GetFileSystemEntries(_folder.Path).Order()];
        // No file may grow beyond 100 KiB, of the 400 kB of the result.
        (int status, string error) = Shell($"trap '' XFSZ; ulimit -f {(100 << 10) / BlockBytes}; {Nl} op '{input}' --device managed " +
            $"--out '{output}'");
        Assert.True(status == ExitStatus.BadInput, $"{status}: {error}");
        Assert.Contains(output, error, StringComparison.Ordinal);
        Assert.Equal(before, Directory.GetFileSystemEntries(_folder.Path).Order());
        if (exists)
            Assert.Equal("old", File.ReadAllText(output));
    }

    [Theory]
    [InlineData("loss.svg")]
    [InlineData("loss.png")]
    [InlineData("report.json")]
    public void ChartsAndReports_FollowLinks(string name)
    {
        RequireUnix();
        File.CreateSymbolicLink(_folder.File("link"), name);
        var canvas = new ChartCanvas(20, 10);
        Action<string> save = name switch
        {
            "loss.svg" => canvas.SaveSvg,
            "loss.png" => canvas.SavePng,
            _ => path => SafeFile.WriteText(path, "{}"),
        };
        save(_folder.File("link"));
        Assert.Equal(name, new FileInfo(_folder.File("link")).LinkTarget);
        Assert.True(new FileInfo(_folder.File(name)).Length > 0);
    }

    [Theory]
    [InlineData("text.txt", "would be overwritten")]
    [InlineData("link.txt", "would be overwritten")]
    [InlineData("out/report.json", "expected another.")]
    [InlineData("folder", "is a folder")]
    [InlineData("read-only", "is read-only")]
    public void Stream_RefusesACheckpointThatWouldDestroy(string checkpoint, string reason)
    {
        RequireUnix();
        string text = _folder.Write("text.txt", Texts.Words("abcdef", 9000, 1));
        File.CreateSymbolicLink(_folder.File("link.txt"), "text.txt");
        Directory.CreateDirectory(_folder.File("folder"));
        File.WriteAllText(_folder.File("read-only"), "old");
        File.SetAttributes(_folder.File("read-only"), FileAttributes.ReadOnly);
        byte[] before = File.ReadAllBytes(text);
        CommandLineRun run = CommandLineRun.Of("stream", text, "--bytes", "4096", "--out", _folder.File("out"), "--checkpoint",
            _folder.File(checkpoint), "--device", "managed", "--quiet");
        Assert.Equal(ExitStatus.BadInput, run.Status);
        Assert.Contains(reason, run.Error, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(text));
        Assert.False(Directory.Exists(_folder.File("out")));
        File.SetAttributes(_folder.File("read-only"), FileAttributes.Normal);
    }

    [Fact]
    public void Stream_RefusesATextThatItsReportWouldReplace()
    {
        string text = _folder.Write("out/report.json", Texts.Words("abcdef", 9000, 1));
        byte[] before = File.ReadAllBytes(text);
        CommandLineRun run = CommandLineRun.Of("stream", text, "--bytes", "4096", "--out", _folder.File("out"), "--device", "managed");
        Assert.Equal(ExitStatus.BadInput, run.Status);
        Assert.Contains("would be overwritten", run.Error, StringComparison.Ordinal);
        Assert.Equal(before, File.ReadAllBytes(text));
    }

    // POSIX counts the limit in 512 bytes, bash in 1024 unless it is told to be POSIX.
    private const int BlockBytes = 1024;

    private static string Nl => $"dotnet '{Path.Combine(AppContext.BaseDirectory, "nl.dll")}'";

    private string Case(int length)
    {
        var file = new SafetensorsFile { Metadata = { ["op"] = "scale", ["factor"] = "2" } };
        file.Add("in.x", [length], Enumerable.Repeat(1f, length).ToArray());
        string path = _folder.File("case.safetensors");
        file.Save(path);
        return path;
    }

    private static CommandLineRun Op(string input, string output) =>
        CommandLineRun.Of("op", input, "--out", output, "--device", "managed");

    private static (int Status, string Error) Shell(string command)
    {
        var start = new ProcessStartInfo("bash", ["-c", command]) { RedirectStandardError = true, RedirectStandardOutput = true };
        // The runtime's map of compiled code is a file as long as all of it could be.
        start.Environment["DOTNET_EnableWriteXorExecute"] = "0";
        using Process process = Process.Start(start)!;
        Task<string> output = process.StandardOutput.ReadToEndAsync(TestContext.Current.CancellationToken);
        string error = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, error + output.Result);
    }

    private static void RequireUnix() => Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no links and shells as these.");
}
