using System.Text.Json;
using NestedLearning.CommandLine.Bench;
using NestedLearning.CommandLine.Commands;
using NestedLearning.Models;
using Xunit;

namespace NestedLearning.CommandLine.Tests;

public sealed class BenchCommandTests
{
    [Fact]
    public void Cases_AreTheTable() => Assert.Equal(
        [
            "scan-delta", "scan-delta-backward", "scan-linear-backward", "scan-titans-backward",
            "self-modifying", "self-modifying-backward", "deep-memory", "deep-memory-backward", "attention", "attention-backward",
            "gemm-1024", "gemm-1024-bf16", "gemm-64x512", "mlp", "mlp-backward", "adamw-16m", "adamw-200x80k", "newton-schulz-1024",
            "cross-entropy", "ridge-2048", "ridge-2048x64", "scan-token", "decay-idle", "moments-idle", "mlp-wide",
            "hope-stream", "hope-read", "hope-decode", "hope-decode-64", "train-25m", "decode-25m",
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

        static BenchCase Case(double flops, double bytes) => new("case", "", flops, bytes, _ => () => { });
    }

    [Fact]
    public void Median_IsOfASingleCall()
    {
        double median = BenchTimer.Median(() => Thread.Sleep(10), TimeSpan.FromMilliseconds(100));
        Assert.InRange(median, 9, 1000);
    }

    [Fact]
    public void Json_IsOneObjectALine()
    {
        string[] lines = Run(json: true, "scan-token", "adamw-200x80k");
        JsonElement[] results = Array.ConvertAll(lines, l => JsonDocument.Parse(l).RootElement);
        Assert.Equal(["scan-token", "adamw-200x80k"], results.Select(r => r.GetProperty("name").GetString()));
        Assert.All(results, r =>
            Assert.All(["median_ms", "share_of_floor"], field => Assert.True(r.GetProperty(field).GetDouble() > 0, field)));
        Assert.True(results[0].GetProperty("gflops").GetDouble() > 0);
        Assert.True(results[1].GetProperty("gbs").GetDouble() > 0);
    }

    [Fact]
    public void IdleCases_AreBesideTheirOrdinaryTwins()
    {
        JsonElement result = JsonDocument.Parse(Assert.Single(Run(json: true, "decay-idle"))).RootElement;
        Assert.Equal(result.GetProperty("median_ms").GetDouble() / result.GetProperty("ordinary_ms").GetDouble(),
            result.GetProperty("ratio").GetDouble(), 1e-9);
        var text = new BenchResult(BenchCase.Find("decay-idle"), 1, 3, new MachineLimits(500, 50)) { TwinMilliseconds = 2 };
        Assert.EndsWith(": 1.50 times its ordinary time", text.ToString(), StringComparison.Ordinal);
        Assert.All(BenchCase.All, c => Assert.Equal(c.Name is "decay-idle" or "moments-idle" or "mlp-wide", c.Twin is not null));
    }

    [Fact]
    public void Threads_AreThoseAskedFor()
    {
        CommandLineRun run = CommandLineRun.Of("bench", "scan-token", "--json", "--threads", "3", "--device", "managed");
        Assert.Equal(ExitStatus.Success, run.Status);
        Assert.Equal("", run.Error);
        JsonElement result = JsonDocument.Parse(Assert.Single(run.Output.Split('\n', StringSplitOptions.RemoveEmptyEntries))).RootElement;
        Assert.Equal(3, result.GetProperty("threads").GetInt32());
    }

    [Fact]
    public void Text_NamesTheMachineAndTheCase()
    {
        string[] lines = Run(json: false, "scan-token");
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
        Assert.StartsWith("nl: There is no case 'scan-tokne'; known are scan-delta, ",
            Assert.Single(run.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries)), StringComparison.Ordinal);
    }

    [Fact]
    public void LargeCases_Run_WithTheirSizes()
    {
        IReadOnlyList<BenchCase> cases =
            [.. LargeCases.All(LargeCases.MaxScale)
            .Where(c => c.Name is "scan-gated-backward-64" or "gemm" or "hope-block" or "adamw-100m")];
        using var output = new StringWriter();
        using (Device device = Device.Open("managed"))
            BenchCommand.Run(cases, device, json: true, TimeSpan.Zero, output, TensorCores.None, TensorCores.BFloat16);
        JsonElement[] results = Array.ConvertAll(output.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries), l =>
            JsonDocument.Parse(l).RootElement);
        Assert.Equal(
            [
                "scan-gated-backward-64 B=8 H=16 T=64 D=64 float32", "scan-gated-backward-64 B=8 H=16 T=64 D=64 bfloat16",
                    "gemm 64³ float32", "gemm 64³ bfloat16",
                "hope-block B=4 T=32 D=16 H=16 float32", "hope-block B=4 T=32 D=16 H=16 bfloat16", "adamw-100m 24 tensors of 65536 float32",
            ],
            results.Select(r => $"{r.GetProperty("name")} {r.GetProperty("size")} {r.GetProperty("products")}"));
        Assert.All(results, r => Assert.True(r.GetProperty("median_ms").GetDouble() > 0));
    }

    [Fact]
    public void ModelCases_Run_AtSmallSizes()
    {
        ModelConfiguration hope = ModelConfiguration.Hope with
        {
            Dim = 8,
            Heads = 2,
            Blocks = 1,
            ContextLength = 16,
            Levels = [new("fast", 4, 1e-3f, 6), new("slow", 8, 1e-3f, 6)],
            MemoryChunk = 4,
        };
        IReadOnlyList<BenchCase> cases = ModelCases.Of(hope, streams: 3,
            new TransformerSize(Dim: 8, Blocks: 1, Heads: 2, Hidden: 12, Vocabulary: 19, Batch: 2, Time: 5), prompt: 4, decoded: 3);
        Assert.All(cases, c => Assert.True(new MachineLimits(500, 50).Floor(c) > 0, c.Name));
        using Device device = Device.Open("managed");
        device.Threads = 2;
        using var json = new StringWriter();
        BenchCommand.Run(cases, device, json: true, TimeSpan.Zero, json);
        JsonElement[] results = Array.ConvertAll(json.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries), l =>
            JsonDocument.Parse(l).RootElement);
        Assert.Equal(
            ["hope-stream 1", "hope-stream 2", "hope-read 2", "hope-decode 2", "hope-decode-3 2", "train-25m 2", "decode-25m 2"],
            results.Select(r => $"{r.GetProperty("name")} {r.GetProperty("threads")}"));
        Assert.All(results, r => Assert.True(r.GetProperty("share_of_floor").GetDouble() > 0));
        Assert.All(results[..5], r => Assert.True(r.GetProperty("bytes_per_s").GetDouble() > 0));
        Assert.All(results[5..], r => Assert.True(r.GetProperty("tokens_per_s").GetDouble() > 0));
        Assert.Equal(2, device.Threads);

        using var text = new StringWriter();
        BenchCommand.Run([.. cases.Where(c => c.Name is "hope-read" or "train-25m")], device, json: false, TimeSpan.Zero, text);
        string[] lines = text.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries);
        Assert.Matches("^hope-read +2 .* bytes/s .* %  predicting", lines[^2]);
        Assert.Matches("^train-25m +2 .* tokens/s .* %  Transformer", lines[^1]);
    }

    [Fact]
    public void Transformer_Has25MParameters()
    {
        TransformerSize size = TransformerSize.Of25M;
        Assert.InRange(size.Matrices, 24.5e6, 25.5e6);
        size.Configuration.Validate();

        // A model of the same form at a small size: the matrices are all that is counted, beside norms and biases.
        var small = new TransformerSize(Dim: 8, Blocks: 2, Heads: 2, Hidden: 12, Vocabulary: 19, Batch: 2, Time: 5);
        using Device device = Device.Open("managed");
        using var model = new SequenceModel(device, small.Configuration);
        Assert.Equal(small.Matrices, model.Levels.Levels[0].Parameters.Where(p => p.Decays).Sum(p => (double)p.Value.Count));
    }

    // Without a budget each case runs three times: what is tested is not its speed.
    private static string[] Run(bool json, params string[] cases)
    {
        using var output = new StringWriter();
        using (Device device = Device.Open("managed"))
            BenchCommand.Run(Array.ConvertAll(cases, BenchCase.Find), device, json, TimeSpan.Zero, output);
        return output.ToString().Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }
}
