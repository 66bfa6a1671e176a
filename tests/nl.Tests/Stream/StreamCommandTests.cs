using System.Text.Json;
using NestedLearning.CommandLine.Commands;
using NestedLearning.CommandLine.Tests;
using Xunit;

namespace NestedLearning.CommandLine.Streaming.Tests;

public sealed class StreamCommandTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly StringWriter _output = new();
    private readonly StringWriter _error = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Run_WritesTablesReportChartAndCheckpoint()
    {
        Assert.Equal(ExitStatus.Success, Run(Settings(), new ByteCountFactory()));

        string text = _output.ToString();
        foreach (string expected in (string[])["phase 2, figures.txt: 6,000 bytes", "Bits per byte", "Adaptation", "Retention",
            "Hope online", "one level", "Hope frozen", "* Hope's own", "100 %"])
            Assert.Contains(expected, text, StringComparison.Ordinal);
        Assert.Empty(_error.ToString());

        using JsonDocument json = JsonDocument.Parse(File.ReadAllText(_folder.File("out/report.json")));
        JsonElement root = json.RootElement;
        Assert.Equal("nested-learning/stream/1", root.GetProperty("schema").GetString());
        Assert.Equal(80, root.GetProperty("configuration").GetProperty("Chunk").GetInt32());
        Assert.Equal(["letters.txt", "figures.txt", "more"],
            root.GetProperty("phases").EnumerateArray().Select(p => p.GetProperty("name").GetString()));
        JsonElement hope = root.GetProperty("learners")[0];
        Assert.Equal("hope", hope.GetProperty("id").GetString());
        Assert.Equal(3 * 24, hope.GetProperty("lossOfBlock").GetArrayLength());
        Assert.Equal(18_000 / 80, hope.GetProperty("levels")[0].GetProperty("commits").GetInt32());
        Assert.Equal(2, hope.GetProperty("retention").GetArrayLength());

        Assert.True(File.Exists(_folder.File("out/stream.safetensors")));
        Assert.True(File.Exists(_folder.File(ChartCanvas.HasFonts ? "out/loss.png" : "out/loss.svg")));
    }

    [Fact]
    public void Interruption_SaysHowToGoOn_AndGoingOnGivesTheSameTables()
    {
        Assert.Equal(ExitStatus.Success, Run(Settings() with { Out = _folder.File("whole"), Quiet = true }, new ByteCountFactory()));
        string whole = Tables();

        using var stop = new CancellationTokenSource();
        var stopping = new ByteCountFactory { Made = (_, learner) => learner.Reading = at => { if (at > 8000) stop.Cancel(); } };
        Assert.Equal(ExitStatus.Interrupted, RunUntil(Settings() with { Quiet = true }, stopping, stop.Token));
        Assert.Contains("--resume", _output.ToString(), StringComparison.Ordinal);
        Assert.False(File.Exists(_folder.File("out/report.json")));

        _output.GetStringBuilder().Clear();
        Assert.Equal(ExitStatus.Success, Run(Settings() with { Resume = true, Quiet = true }, new ByteCountFactory()));
        Assert.Equal(whole, Tables());
    }

    [Fact]
    public void OldCheckpoint_IsMentionedBeforeItIsReplaced()
    {
        Run(Settings(), new ByteCountFactory());
        Assert.DoesNotContain("will be replaced", _output.ToString(), StringComparison.Ordinal);
        Run(Settings(), new ByteCountFactory());
        Assert.Contains("will be replaced", _output.ToString(), StringComparison.Ordinal);
    }

    [Fact]
    public void Divergence_IsOneLineAndAFailure()
    {
        var failing = new ByteCountFactory { Made = (_, learner) => learner.LossesFailAt = 1234 };
        Assert.Equal(ExitStatus.Failed, Run(Settings(), failing));
        Assert.Equal("nl: Hope online: the loss is NaN at byte 1,234 of the stream (phase 1, letters.txt). There is no checkpoint.",
            _error.ToString().TrimEnd());
        Assert.False(File.Exists(_folder.File("out/stream.safetensors")));
    }

    [Fact]
    public void OnePhase_LeavesOutTheFrozenLearner()
    {
        StreamSettings settings = Settings();
        Assert.Equal(ExitStatus.Success, Run(settings with { Paths = [settings.Paths[0]] }, new ByteCountFactory()));
        Assert.Contains("left out", _output.ToString(), StringComparison.Ordinal);
        Assert.DoesNotContain("Hope frozen", _output.ToString(), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("'nowhere.txt' does not exist", "nowhere.txt")]
    [InlineData("--bytes is 12", "--bytes", "12")]
    [InlineData("no learner 'everyone'", "--learners", "everyone")]
    [InlineData("names a learner twice", "--learners", "hope,hope")]
    [InlineData("--learners names none", "--learners", ",")]
    [InlineData("--checkpoint-every is -1", "--checkpoint-every", "-1")]
    [InlineData("no backend 'abacus'", "--device", "abacus")]
    [InlineData("no checkpoint", "--resume", "--checkpoint", "nowhere.safetensors")]
    public void BadInput_IsOneLineOnTheErrorOutput(string expected, params string[] arguments)
    {
        string[] text = arguments[0] is "nowhere.txt" ? [] : [_folder.Write("text.txt", Texts.Lines(1000))];
        CommandLineRun run = CommandLineRun.Of(["stream", .. text, .. arguments, "--out", _folder.File("out")]);

        Assert.Equal(ExitStatus.BadInput, run.Status);
        string line = Assert.Single(run.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.StartsWith("nl: ", line, StringComparison.Ordinal);
        Assert.Contains(expected, line, StringComparison.Ordinal);
        Assert.DoesNotContain("   at ", line, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0.2, "0:01")]
    [InlineData(72, "1:12")]
    [InlineData(3600 * 27 + 61, "27:01:01")]
    [InlineData(double.PositiveInfinity, "2376:00:00")]
    public void TimeLeft_IsMinutesAndSeconds(double seconds, string expected) => Assert.Equal(expected, StreamProgress.TimeLeft(seconds));

    private StreamSettings Settings() => new()
    {
        Paths =
        [
            _folder.Write("letters.txt", Texts.Words("abcdefghijklmnop", 9000, 1)),
            _folder.Write("figures.txt", Texts.Words("0123456789", 9000, 2)),
            Path.GetDirectoryName(_folder.Write("more/letters.txt", Texts.Words("abcdefghijklmnop", 9000, 3)))!,
        ],
        Bytes = 6000,
        Out = _folder.File("out"),
        Checkpoint = _folder.File("out/stream.safetensors"),
    };

    private int Run(StreamSettings settings, ByteCountFactory factory) =>
        RunUntil(settings, factory, TestContext.Current.CancellationToken);

    private int RunUntil(StreamSettings settings, ByteCountFactory factory, CancellationToken stop) =>
        StreamCommand.Run(settings, factory, Terminal.For(_output), _error, stop);

    // Without the lines and columns of times: parameters, tokens a second and seconds are the last three of the first table.
    private string Tables()
    {
        string[] lines = _output.ToString().Split('\n');
        int first = Array.FindIndex(lines, l => l.StartsWith("Bits per byte", StringComparison.Ordinal));
        int last = Array.FindLastIndex(lines, l => l.Contains("Hope's own", StringComparison.Ordinal));
        Assert.InRange(first, 0, last);
        int adaptation = Array.FindIndex(lines, l => l.StartsWith("Adaptation", StringComparison.Ordinal));
        IEnumerable<string> losses = lines[first..adaptation]
            .Select(l => string.Join(' ', l.Split(' ', StringSplitOptions.RemoveEmptyEntries).SkipLast(3)));
        return string.Join('\n', losses.Concat(lines[adaptation..(last + 1)]));
    }
}
