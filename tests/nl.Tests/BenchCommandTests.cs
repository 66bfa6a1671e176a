using System.Text.Json;
using NestedLearning.CommandLine.Bench;
using NestedLearning.CommandLine.Commands;
using Xunit;

namespace NestedLearning.CommandLine.Tests;

public sealed class BenchCommandTests
{
    [Fact]
    public void Cases_AreTheTable() => Assert.Equal(
        [
            "scan-delta", "scan-delta-backward", "scan-linear-backward", "scan-titans-backward", "gemm-1024", "mlp", "mlp-backward",
            "adamw-16m", "adamw-200x80k", "cross-entropy", "scan-token",
        ],
        BenchCase.All.Select(c => c.Name));

    [Fact]
    public void Cases_HaveAFloor() => Assert.All(BenchCase.All, c => Assert.True(new MachineLimits(500, 50).Floor(c) > 0, c.Name));

    [Fact]
    public void Floor_IsTheSlowerOfArithmeticAndMemory()
    {
        var limits = new MachineLimits(Gflops: 100, GigabytesPerSecond: 10);
        Assert.Equal(2, limits.Floor(Case(flops: 2e8, bytes: 1e6)), 1e-9);
        Assert.Equal(3, limits.Floor(Case(flops: 2e8, bytes: 3e7)), 1e-9);

        static BenchCase Case(double flops, double bytes) => new("case", flops, bytes, _ => () => { });
    }

    [Fact]
    public void Median_IsOfASingleCall()
    {
        double median = BenchTimer.Median(() => Thread.Sleep(10), TimeSpan.FromMilliseconds(100));
        Assert.InRange(median, 9, 1000);
    }

    [Theory]
    [InlineData("1")]
    [InlineData("3")]
    public void Json_IsOneObjectALine(string threads)
    {
        CommandLineRun run = CommandLineRun.Of("bench", "scan-token", "adamw-200x80k", "--json", "--threads", threads, "--device", "managed");
        Assert.Equal(ExitStatus.Success, run.Status);
        Assert.Equal("", run.Error);
        JsonElement[] lines = [.. run.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => JsonDocument.Parse(l).RootElement)];
        Assert.Equal(["scan-token", "adamw-200x80k"], lines.Select(l => l.GetProperty("name").GetString()));
        Assert.All(lines, l =>
        {
            Assert.Equal(threads, l.GetProperty("threads").GetRawText());
            Assert.True(l.GetProperty("median_ms").GetDouble() > 0);
            Assert.True(l.GetProperty("share_of_floor").GetDouble() > 0);
        });
        Assert.True(lines[0].GetProperty("gflops").GetDouble() > 0);
        Assert.True(lines[1].GetProperty("gbs").GetDouble() > 0);
    }

    [Fact]
    public void Text_NamesTheMachineAndTheCase()
    {
        using var output = new StringWriter();
        using (Device device = Device.Open("managed"))
            BenchCommand.Run([BenchCase.Find("scan-token")], device, json: false, TimeSpan.Zero, output);
        string[] lines = output.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.StartsWith("managed ", lines[0], StringComparison.Ordinal);
        Assert.Contains("GFLOP/s", lines[1], StringComparison.Ordinal);
        Assert.StartsWith("scan-token ", lines[^1], StringComparison.Ordinal);
    }

    [Fact]
    public void UnknownCase_IsNamed()
    {
        CommandLineRun run = CommandLineRun.Of("bench", "scan-token", "scan-tokne");
        Assert.Equal(ExitStatus.BadInput, run.Status);
        Assert.Equal("", run.Output);
        Assert.StartsWith("nl: There is no case 'scan-tokne'; known are scan-delta, ", Assert.Single(run.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries)), StringComparison.Ordinal);
    }
}
