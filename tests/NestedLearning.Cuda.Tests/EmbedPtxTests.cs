using System.Diagnostics;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Cuda.Tests;

/// <summary>What the build of NestedLearning.Gpu embeds: PTX of the sources that are there, or nothing.</summary>
public sealed class EmbedPtxTests : IDisposable
{
    private const string Source = "native/kernels/scan/scan.cu", Ptx = "artifacts/ptx/sm_80/scan.ptx";

    private static readonly string[] s_sources =
    [
        "native/cuda/cuda.h", "native/cuda/tile.cuh", "native/cuda/sm_80.flags", "native/kernels/adam/philox.h",
        "native/kernels/scan/scan.cuh", Source,
    ];

    private readonly string _folder = Directory.CreateTempSubdirectory("embed-ptx-").FullName;

    public EmbedPtxTests()
    {
        foreach (string file in (ReadOnlySpan<string>)[.. s_sources, Ptx])
            Write(file, file);
        Write("native/cuda/README.md", "no source");
        Write("artifacts/ptx/ptx.sha256", $"# a compiler\n{Line("sm_80/scan.ptx", Ptx)}");
        Write("artifacts/ptx/sources.sha256", string.Concat(s_sources.Select(file => Line(file, file))));
    }

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void PtxOfTheSources_IsEmbedded() => Assert.Equal(["sm_80/scan.ptx"], Embedded(warns: false));

    [Theory]
    [InlineData(Source, "changed")]
    [InlineData("native/kernels/adam/adam.cu", "new")]
    [InlineData(Ptx, "half of it")]
    [InlineData("artifacts/ptx/sources.sha256", null)]
    public void PtxOfOthers_IsLeftOut_WithAWarning(string file, string? text)
    {
        if (text is null)
            File.Delete(Path.Combine(_folder, file));
        else
            Write(file, text);
        Assert.Empty(Embedded(warns: true));
    }

    [Fact]
    public void WithoutPtx_ThereIsNothingToSay()
    {
        Directory.Delete(Path.Combine(_folder, "artifacts"), recursive: true);
        Assert.Empty(Embedded(warns: false));
    }

    // The names of the resources.
    private string[] Embedded(bool warns)
    {
        string project = SharedFiles.RequireRepository("src", "NestedLearning.Gpu", "NestedLearning.Gpu.csproj");
        var start = new ProcessStartInfo(
            "dotnet",
            [
                "msbuild", project, "-nologo", "-nodeReuse:false", "-t:EmbedPtx", "-getItem:EmbeddedResource",
                $"-p:PtxFolder={_folder}/artifacts/ptx/", $"-p:RepositoryFolder={_folder}/",
                $"-p:IntermediateOutputPath={_folder}/obj/", $"-flp:logfile={_folder}/log;verbosity=minimal",
            ])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        using Process process = Process.Start(start)!;
        // The warning goes there as well.
        Task<string> error = process.StandardError.ReadToEndAsync();
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        Assert.True(process.ExitCode == 0, output + error.Result);
        string log = File.ReadAllText(Path.Combine(_folder, "log"));
        Assert.True(warns == log.Contains("warning NLPTX", StringComparison.Ordinal), log + output);
        using var items = JsonDocument.Parse(output[output.IndexOf('{', StringComparison.Ordinal)..]);
        return
        [
            .. items.RootElement.GetProperty("Items").GetProperty("EmbeddedResource").EnumerateArray()
                .Select(item => item.GetProperty("LogicalName").GetString()!),
        ];
    }

    private void Write(string file, string text)
    {
        string path = Path.Combine(_folder, file);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, text);
    }

    private static string Line(string name, string text) =>
        $"{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))}  {name}\n";
}
