using Xunit;

namespace NestedLearning.CommandLine.Tests;

/// <summary>Whatever is wrong, the user gets one line that says what, and a status that is not 0.</summary>
public sealed class ErrorTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Theory]
    [InlineData("no arguments given", "Option '--out' is required. Required argument missing for command: 'op'.", "op")]
    [InlineData("--out missing", "--out", "op", "case.safetensors")]
    [InlineData("unknown command", "'strem'", "strem")]
    [InlineData("unknown option", "'--frobnicate'", "doctor", "--frobnicate")]
    [InlineData("missing file", "nowhere.safetensors: there is no such file", "op", "nowhere.safetensors", "--out", "r.safetensors")]
    [InlineData("nothing matches", "no x*.safetensors there", "check", "nowhere/x*.safetensors")]
    public void CommandLine_IsExplained(string what, string words, params string[] args) =>
        AssertOneLine(CommandLineRun.Of(args), what, words);

    [Theory]
    [InlineData("telepathy", "There is no backend 'telepathy'; known are ")]
    [InlineData("", "There is no backend ''; known are ")]
    public void UnknownBackend_IsExplained(string name, string words) =>
        AssertOneLine(RunCase(Cases.AdamW(), "--device", name), name, words);

    [Fact]
    public void AbsentBackend_IsNoFallback()
    {
        BackendReport? absent = Device.Probe().FirstOrDefault(r => !r.Available);
        if (absent is null)
            Assert.Skip("Every backend works here.");
        AssertOneLine(RunCase(Cases.AdamW(), "--device", absent.Name), absent.Name, "");
    }

    [Fact]
    public void Threads_AreAtLeastOne() =>
        AssertOneLine(RunCase(Cases.AdamW(), "--threads", "0"), "threads", "--threads is 0, expected at least 1.");

    [Theory]
    [InlineData("in.g", "no tensor 'in.g', expected [steps, r, c]")]
    [InlineData("beta2", "no setting 'beta2'")]
    [InlineData("op", "no 'op'")]
    public void MissingPart_IsNamed(string part, string words) => AssertOneLine(RunCase(Cases.Edit(Cases.AdamW(), part)), part, words);

    [Theory]
    [InlineData("op", "telepathy", "no operation 'telepathy'; known are scan, ")]
    [InlineData("lr", "fast", "'lr' is 'fast', expected a finite number")]
    [InlineData("lr", "NaN", "'lr' is 'NaN', expected a finite number")]
    [InlineData("momentum", "0.9", "settings that adamw does not take: momentum")]
    public void WrongSetting_IsNamed(string key, string value, string words) =>
        AssertOneLine(RunCase(Cases.Edit(Cases.AdamW(), null, (key, value))), key, words);

    [Theory]
    [InlineData("erase", "2", "Erase is 2, expected 0 to 1.")]
    [InlineData("alpha", "1", "Decay is 1, expected at least 0 and below 1.")]
    public void OptimizersSettingOutOfRange_IsNamed(string key, string value, string words) =>
        AssertOneLine(RunCase(Cases.Edit(Cases.DeltaMomentum(), null, (key, value))), key, words);

    [Theory]
    [InlineData("read", "during", "'read' is 'during', expected 'after' or 'before'")]
    [InlineData("chunk", "0", "'chunk' has '0', expected a whole number from 1 to 256")]
    [InlineData("chunk", "257", "'chunk' has '257', expected a whole number from 1 to 256")]
    public void WrongScanSetting_IsNamed(string key, string value, string words) =>
        AssertOneLine(RunCase(Cases.Edit(Cases.LinearAttention(), null, (key, value))), key, words);

    [Theory]
    [InlineData("1,2,3", "'in.eta' has shape [3, 2], expected [T, 3]")]
    [InlineData("1", "'in.eta' has shape [3, 2], expected [T, 1]")]
    [InlineData("1,,2", "'chunks' has '', expected a whole number")]
    public void WrongChunks_AreNamed(string chunks, string words) =>
        AssertOneLine(RunCase(Cases.Edit(Cases.Commit(), null, ("chunks", chunks))), chunks, words);

    [Fact]
    public void ErrorTermsThatAreNotFinite_AreNotCommitted()
    {
        SafetensorsFile file = Cases.Edit(Cases.Commit(), "in.err.1");
        file.Add("in.err.1", [3, 2], [1, 10, 2, float.NaN, 3, 30]);
        AssertOneLine(RunCase(file), "NaN", "The error terms of level 'level 1' have norm NaN");
    }

    [Fact]
    public void WrongShape_IsNamedWithWhatWasExpected()
    {
        SafetensorsFile file = Cases.Edit(Cases.LinearAttention(), "in.k");
        file.Add("in.k", [1, 2, 1, 2], [1, 2, 3, 4]);
        AssertOneLine(RunCase(file), "shape", "'in.k' has shape [1, 2, 1, 2], expected [B, T, H, Dk] = [1, 3, 1, 2]");
    }

    [Theory]
    [InlineData("in.p0", "tensors that scan does not take: in.p0")]
    [InlineData("in.theta", "tensors that scan does not take: in.theta")]
    [InlineData("k", "tensors that scan does not take: k")]
    public void TensorThatIsNotTaken_IsNamed(string name, string words)
    {
        SafetensorsFile file = Cases.LinearAttention();
        file.Add(name, [1, 1, 2, 1], [1, 2]);
        AssertOneLine(RunCase(file), name, words);
    }

    [Theory]
    [InlineData("")]
    [InlineData("not a case at all, and longer than eight bytes")]
    public void UnreadableFile_IsNamed(string contents)
    {
        File.WriteAllText(_folder.File("case.safetensors"), contents);
        AssertOneLine(CommandLineRun.Of("op", _folder.File("case.safetensors"), "--out", _folder.File("r.safetensors")), "file",
            "case.safetensors");
    }

    [Fact]
    public void Folder_IsNoCase() =>
        AssertOneLine(CommandLineRun.Of("op", _folder.Path, "--out", _folder.File("r.safetensors")), "folder", "is a folder");

    [Fact]
    public void MissingResultFolder_IsNamed()
    {
        Cases.AdamW().Save(_folder.File("case.safetensors"));
        AssertOneLine(CommandLineRun.Of("op", _folder.File("case.safetensors"), "--out", _folder.File("no/r.safetensors"), "--device",
            "managed"), "out", "r.safetensors");
    }

    [Fact]
    public void CaseWithoutResults_CannotBeChecked()
    {
        SafetensorsFile file = new();
        foreach (string name in Cases.AdamW().Names.Where(n => n.StartsWith("in.", StringComparison.Ordinal)))
            file.Add(name, Cases.AdamW().ShapeOf(name), Cases.AdamW().Floats(name));
        foreach ((string key, string value) in Cases.AdamW().Metadata)
            file.Metadata[key] = value;
        file.Save(_folder.File("case.safetensors"));
        CommandLineRun run = CommandLineRun.Of("check", _folder.Path, "--device", "managed");
        Assert.Equal(ExitStatus.BadInput, run.Status);
        Assert.Contains("no expected results", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void ExpectedResultThatIsNotGiven_IsNamed()
    {
        SafetensorsFile file = Cases.AdamW();
        file.Add("out.x", [1], [1]);
        file.Save(_folder.File("case.safetensors"));
        CommandLineRun run = CommandLineRun.Of("check", _folder.Path, "--device", "managed");
        Assert.Equal(ExitStatus.BadInput, run.Status);
        Assert.Contains("adamw gives no 'out.x'; it gives out.m, out.v, out.w", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void Verbose_ShowsTheTrace()
    {
        CommandLineRun run = CommandLineRun.Of("op", "nowhere.safetensors", "--out", "r.safetensors", "--verbose");
        Assert.Equal(ExitStatus.BadInput, run.Status);
        Assert.Contains("   at NestedLearning.CommandLine.", run.Error, StringComparison.Ordinal);
    }

    public void Dispose() => _folder.Dispose();

    private CommandLineRun RunCase(SafetensorsFile file, params string[] more)
    {
        file.Save(_folder.File("case.safetensors"));
        string result = _folder.File("result.safetensors");
        CommandLineRun run = CommandLineRun.Of(
            ["op", _folder.File("case.safetensors"), "--out", result, .. (more.Length > 0 ? more : ["--device", "managed"])]);
        Assert.False(File.Exists(result), "A result was written.");
        return run;
    }

    private static void AssertOneLine(CommandLineRun run, string what, string words)
    {
        Assert.True(run.Status != ExitStatus.Success, what);
        Assert.Equal("", run.Output);
        string line = Assert.Single(run.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries));
        Assert.StartsWith("nl: ", line, StringComparison.Ordinal);
        Assert.Contains(words, line, StringComparison.Ordinal);
        Assert.DoesNotContain("(Parameter", line, StringComparison.Ordinal);
        Assert.DoesNotContain("Exception", line, StringComparison.Ordinal);
    }
}
