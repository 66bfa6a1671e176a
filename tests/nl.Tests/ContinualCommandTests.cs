using System.Text.Json;
using NestedLearning.CommandLine.Commands;
using NestedLearning.CommandLine.Continual;
using NestedLearning.Models.Continual;
using NestedLearning.Models.Learning;
using Xunit;

namespace NestedLearning.CommandLine.Tests;

public sealed class ContinualCommandTests : IDisposable
{
    private static readonly ContinualTexts s_texts = new(
        [Domain("a", 1), Domain("b", 2)], ["a", "b", "a"], "0123456789abcdef0123456789abcdef");

    private readonly TemporaryFolder _folder = new();
    private readonly StringWriter _output = new();
    private readonly StringWriter _error = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public void Run_WritesTablesJsonCsvAndRuns()
    {
        ContinualSettings settings = Settings() with { Csv = _folder.File("figures.csv"), Quiet = false };
        Assert.Equal(ExitStatus.Success, Run(settings));
        string text = _output.ToString();
        foreach (string expected in (string[])["one level", "slots, same live size", "rate 0.00", "a again, first 4 KiB", " ± ",
            "written: "])
            Assert.Contains(expected, text, StringComparison.Ordinal);
        // Three trials and two seeds of each strategy.
        Assert.Contains("10 of 10: ", _error.ToString(), StringComparison.Ordinal);
        Assert.Equal(10, File.ReadAllLines(settings.Lines).Length);

        JsonElement report = JsonDocument.Parse(File.ReadAllText(settings.Out)).RootElement;
        Assert.Equal("nested-learning/continual/1", report.GetProperty("schema").GetString());
        Assert.Equal(["a", "b", "a again"], report.GetProperty("phases").EnumerateArray().Select(p => p.GetString()));
        foreach (JsonElement strategy in report.GetProperty("strategies").EnumerateArray())
        {
            Assert.Equal(3, strategy.GetProperty("trials").GetArrayLength());
            Assert.Equal([1, 2], strategy.GetProperty("runs").EnumerateArray().Select(r => r.GetProperty("seed").GetInt32()));
            foreach (JsonElement run in strategy.GetProperty("runs").EnumerateArray())
                Assert.True(run.GetProperty("results").GetProperty("wholeStream").GetDouble() is > 0 and < 8);
        }

        string[] csv = File.ReadAllLines(_folder.File("figures.csv"));
        Assert.Equal("strategy,seed,metric,phase,domain,value", csv[0]);
        Assert.All(csv, line => Assert.Equal(6, line.Split(',').Length));
        Assert.Contains(csv, line => line.StartsWith("slots,2,held out,3,b,", StringComparison.Ordinal));
    }

    [Fact]
    public void Interruption_KeepsWhatIsDone_AndGoingOnGivesTheSame()
    {
        ContinualSettings whole = Settings() with { Out = _folder.File("whole.json"), Seeds = 1 }, cut = Settings() with { Seeds = 1 };
        Assert.Equal(ExitStatus.Success, Run(whole));
        using var stop = new CancellationTokenSource();
        using var watched = new StoppingWriter(stop, afterLines: 3);
        Assert.Equal(ExitStatus.Interrupted, RunUntil(cut with { Quiet = false }, watched, stop.Token));
        Assert.Contains("--resume", _output.ToString(), StringComparison.Ordinal);
        Assert.False(File.Exists(cut.Out));
        int kept = File.ReadAllLines(cut.Lines).Length;
        Assert.InRange(kept, 3, 7);
        // The process may end within a line.
        File.AppendAllText(cut.Lines, "{\"identity\":\"");
        using var rest = new StringWriter();
        Assert.Equal(ExitStatus.Success, Run(cut with { Resume = true, Quiet = false }, error: rest));
        Assert.Equal(8 - kept, rest.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries).Length);
        Assert.Equal(Figures(whole.Out), Figures(cut.Out));
    }

    [Fact]
    public void LineThatIsNoRun_IsNamed()
    {
        ContinualSettings settings = Settings() with { Resume = true };
        File.WriteAllText(settings.Lines, "\n");
        Assert.Contains($"'{settings.Lines}', line 1: this is no run",
            Assert.Throws<Streaming.StreamException>(() => Run(settings)).Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("There is no benchmark 'language'; known are languages, prose", "language")]
    [InlineData("--seeds is 0, expected 1 to 1000", "prose", "--seeds", "0")]
    [InlineData("--phase-bytes is 100, expected 4096 to", "prose", "--phase-bytes", "100")]
    [InlineData("--trials is 2, expected 3 to 100", "prose", "--trials", "2")]
    [InlineData("--dim is 100, expected a multiple of 32", "prose", "--dim", "100")]
    [InlineData("--slots, --probe-period: Slots is 65, expected 0 to 64", "prose", "--slots", "65")]
    [InlineData("--slots, --probe-period: ProbeBytes is 128, expected a divisor of ProbePeriod = 100", "prose", "--probe-period", "100")]
    [InlineData("There is no strategy 'slot'; known are one-level, hope, replay", "prose", "--strategies", "slot")]
    [InlineData("--strategies is empty", "prose", "--strategies", ",")]
    [InlineData("--strategies has a name twice", "prose", "--strategies", "slots,slots")]
    [InlineData("--order has 'it', expected names among en, de, fr, ja", "languages", "--order", "en,it")]
    [InlineData("--order is empty", "languages", "--order", "")]
    public void BadInput_IsNamed(string message, params string[] args)
    {
        CommandLineRun run = CommandLineRun.Of(["continual", .. args, "--out", _folder.File("a.json")]);
        Assert.Equal(ExitStatus.BadInput, run.Status);
        Assert.StartsWith($"nl: {message}", run.Error, StringComparison.Ordinal);
        Assert.False(File.Exists(_folder.File("a.jsonl")));
    }

    [Fact]
    public void TextsThatAreAbsent_AreNamedWithWhereTheyMayBeHad()
    {
        CommandLineRun run = CommandLineRun.Of("continual", "languages", "--data", _folder.Path, "--out", _folder.File("a.json"));
        Assert.Equal(ExitStatus.BadInput, run.Status);
        foreach (string expected in (string[])["tinyshakespeare.txt (data/tinyshakespeare/input.txt of github.com/karpathy/char-rnn)",
            "ja_soseki_neko.txt.gz", "--data", "NESTED_LEARNING_DATA"])
            Assert.Contains(expected, run.Error, StringComparison.Ordinal);
        // Any text of that name does; one that is too short is named.
        File.WriteAllText(_folder.File("tinyshakespeare.txt"), "To be.");
        run = CommandLineRun.Of("continual", "languages", "--order", "en", "--data", _folder.Path, "--out", _folder.File("a.json"));
        Assert.Equal(ExitStatus.BadInput, run.Status);
        Assert.StartsWith("nl: 'en' has 6 bytes, expected at least ", run.Error, StringComparison.Ordinal);
    }

    private static StreamDomain Domain(string name, ulong seed) => new(name, new MarkovSource(seed).Draw(0, 20_000, out _));

    private ContinualSettings Settings() => new()
    {
        Benchmark = "test", Seeds = 2, PhaseBytes = 4096, Trials = 3, Dim = 32, Strategies = [Strategy.OneLevel, Strategy.Parse("slots")],
        Out = _folder.File("results.json"), Quiet = true,
    };

    private int Run(ContinualSettings settings, TextWriter? error = null) =>
        RunUntil(settings, error, TestContext.Current.CancellationToken);

    private int RunUntil(ContinualSettings settings, TextWriter? error, CancellationToken stop)
    {
        using Device device = Device.Open();
        return ContinualCommand.Run(settings, s_texts, device, Terminal.For(_output), error ?? _error, stop);
    }

    // Everything but times.
    private static string Figures(string path) => string.Join('\n',
        JsonDocument.Parse(File.ReadAllText(path)).RootElement.GetProperty("strategies").EnumerateArray()
            .SelectMany(s => s.GetProperty("runs").EnumerateArray().Select(r => $"{s.GetProperty("chosen")} " +
                string.Join(' ', ((string[])["phases", "beginnings", "ends", "heldOut", "afterReading", "stateBytes"])
                    .Select(p => r.GetProperty("results").GetProperty(p).GetRawText())))));

    private sealed class StoppingWriter(CancellationTokenSource stop, int afterLines) : StringWriter
    {
        private int _lines;

        public override void WriteLine(string? value)
        {
            base.WriteLine(value);
            if (++_lines == afterLines)
                stop.Cancel();
        }
    }
}
