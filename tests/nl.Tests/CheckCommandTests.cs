using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.CommandLine.Tests;

/// <summary>The golden cases through the command, on every backend.</summary>
public abstract class GoldenCheckTests(string backend) : BackendTests(backend)
{
    public static TheoryData<string> Names => [.. GoldenCase.Names()];

    [Theory]
    [MemberData(nameof(Names))]
    public void GoldenCase_IsWithinTolerance(string name)
    {
        CommandLineRun run = CommandLineRun.Of("check", SharedFiles.GoldenFile(name), "--device", Device.Name);
        Assert.True(run.Status == ExitStatus.Success, run.Output + run.Error);
        Assert.Contains($"1 cases on {Device.Name} ", run.Output, StringComparison.Ordinal);
        Assert.Contains("1 passed", run.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void GoldenFolder_HasNoFailure()
    {
        string folder = Path.GetDirectoryName(SharedFiles.GoldenFile("adam"))!;
        CommandLineRun run = CommandLineRun.Of("check", folder, "--device", Device.Name);
        Assert.True(run.Status == ExitStatus.Success, run.Output + run.Error);
        Assert.Contains("0 over tolerance, 0 not supported, 0 not usable", run.Output, StringComparison.Ordinal);
    }
}

public sealed class ManagedGoldenCheckTests() : GoldenCheckTests("managed");

public sealed class CpuGoldenCheckTests() : GoldenCheckTests("cpu");

public sealed class CheckCommandTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    [Theory]
    [InlineData(1e-3f)]
    [InlineData(float.NaN)]
    [InlineData(float.PositiveInfinity)]
    public void ResultThatDiffers_IsOverTolerance(float added)
    {
        SafetensorsFile good = Cases.AdamW(), bad = Cases.Edit(good, "out.m");
        float[] m = good.Floats("out.m").ToArray();
        m[1] += added;
        bad.Add("out.m", good.ShapeOf("out.m"), m);
        good.Save(_folder.File("good.safetensors"));
        bad.Save(_folder.File("bad.safetensors"));

        CommandLineRun run = CommandLineRun.Of("check", _folder.Path, "--device", "managed");
        Assert.Equal(ExitStatus.Failed, run.Status);
        string over = Assert.Single(run.Output.Split('\n'), l => l.Contains("OVER", StringComparison.Ordinal));
        Assert.Contains("out.m", over, StringComparison.Ordinal);
        Assert.Contains("2 cases on managed", run.Output, StringComparison.Ordinal);
        Assert.Contains("1 passed, 1 over tolerance", run.Output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false, ExitStatus.Failed)]
    [InlineData(true, ExitStatus.Success)]
    public void OperationThatIsMissing_IsCounted(bool skip, int status)
    {
        Cases.AdamW().Save(_folder.File("adamw.safetensors"));
        Cases.Edit(Cases.AdamW(), null, ("op", "telepathy")).Save(_folder.File("telepathy.safetensors"));
        string[] args = ["check", _folder.Path, "--device", "managed"];
        CommandLineRun run = CommandLineRun.Of(skip ? [.. args, "--skip-unsupported"] : args);
        Assert.Equal(status, run.Status);
        Assert.Contains("not supported", run.Output, StringComparison.Ordinal);
        Assert.Contains("1 passed, 0 over tolerance, 1 not supported", run.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Pattern_ChoosesFiles()
    {
        Cases.AdamW().Save(_folder.File("adamw.safetensors"));
        Cases.Commit().Save(_folder.File("commit.safetensors"));
        CommandLineRun run = CommandLineRun.Of("check", _folder.File("com*.safetensors"), "--device", "managed");
        Assert.Equal(ExitStatus.Success, run.Status);
        Assert.Contains("1 cases", run.Output, StringComparison.Ordinal);
        Assert.DoesNotContain("adamw", run.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void BrokenFile_DoesNotHideTheOthers()
    {
        Cases.AdamW().Save(_folder.File("good.safetensors"));
        File.WriteAllText(_folder.File("broken.safetensors"), "not a case");
        CommandLineRun run = CommandLineRun.Of("check", _folder.Path, "--device", "managed");
        Assert.Equal(ExitStatus.BadInput, run.Status);
        Assert.Contains("1 passed", run.Output, StringComparison.Ordinal);
        Assert.Contains("1 not usable", run.Output, StringComparison.Ordinal);
        Assert.Contains("broken.safetensors", run.Error, StringComparison.Ordinal);
        Assert.Single(run.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries));
    }

    [Fact]
    public void MissingFile_IsCounted()
    {
        CommandLineRun run = CommandLineRun.Of("check", _folder.File("nowhere.safetensors"), "--device", "managed");
        Assert.Equal(ExitStatus.BadInput, run.Status);
        Assert.Contains("1 not usable", run.Output, StringComparison.Ordinal);
        Assert.Contains("nowhere.safetensors: there is no such file", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void RedirectedOutput_IsPlain()
    {
        Cases.AdamW().Save(_folder.File("adamw.safetensors"));
        CommandLineRun run = CommandLineRun.Of("check", _folder.Path, "--device", "managed");
        Assert.DoesNotContain(" \n", run.Output, StringComparison.Ordinal);
        Assert.All(run.Output, c => Assert.True(c is '\n' or '\r' || (c >= ' ' && c < '\u0080') || char.IsLetter(c), $"U+{(int)c:X4}"));
    }

    public void Dispose() => _folder.Dispose();
}
