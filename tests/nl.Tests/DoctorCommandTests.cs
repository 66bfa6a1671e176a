using NestedLearning.CommandLine.Operations;
using NestedLearning.Gpu;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.CommandLine.Tests;

public sealed class DoctorCommandTests
{
    [Fact]
    public void Doctor_NamesEveryBackendAndTheChosenOne()
    {
        CommandLineRun run = CommandLineRun.Of("doctor");
        Assert.Equal(ExitStatus.Success, run.Status);
        Assert.Equal("", run.Error);
        string[] lines = run.Output.Split('\n');
        foreach (BackendReport report in Device.Probe())
        {
            string line = Assert.Single(lines, l => l.StartsWith(report.Name + " ", StringComparison.Ordinal));
            Assert.Contains(report.Detail, line, StringComparison.Ordinal);
            Assert.Equal(!report.Available, line.Contains("passed over", StringComparison.Ordinal));
        }

        using Device best = Device.Open();
        Assert.StartsWith(best.Name + " ", Assert.Single(lines, l => l.Contains(" chosen ", StringComparison.Ordinal)),
            StringComparison.Ordinal);
    }

    [Fact]
    public void Doctor_SaysWhichCudaKernelsTheBuildHas()
    {
        string[] resources = typeof(GpuBackends).Assembly.GetManifestResourceNames();
        int files = resources.Count(name => name.EndsWith(".ptx", StringComparison.Ordinal));
        CommandLineRun run = CommandLineRun.Of("doctor");
        string line = Assert.Single(run.Output.Split('\n'), l => l.StartsWith("CUDA kernels ", StringComparison.Ordinal));
        string expected = files == 0
            ? "none: this build was made without PTX, and GPUs run ILGPU's kernels"
            : $"{files} of {files} files of PTX (sm_80)";
        Assert.EndsWith($" {expected}", line.TrimEnd(), StringComparison.Ordinal);
    }

    [Fact]
    public void Help_ListsTheCommands()
    {
        CommandLineRun run = CommandLineRun.Of();
        Assert.Equal(ExitStatus.Success, run.Status);
        Assert.All(["op", "check", "doctor"], name => Assert.Contains($"\n  {name} ", run.Output, StringComparison.Ordinal));
    }

    [Fact]
    public void Operations_HaveDifferentNames() => Assert.Distinct(Operation.All.Select(o => o.Name));

    [Fact]
    public void Tolerances_AreTheGoldenOnes()
    {
        Assert.All(Operation.All, o =>
            Assert.Equal(o.Name.EndsWith("-backward", StringComparison.Ordinal) ? Tolerances.Golden.Gradient : Tolerances.Golden.Forward,
                o.Tolerance));
    }
}
