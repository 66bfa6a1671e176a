using System.Security.Cryptography;
using System.Text;
using NestedLearning.Gpu.Cuda;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Cuda.Tests;

/// <summary>
/// The embedded PTX is what its compiler makes of the sources, byte for byte: as native/cuda/ptx.sha256 has it, and a second time.
/// </summary>
public sealed class PtxBuildTests
{
    private const string Remedy = "Where kernels were changed on purpose, ./build.sh ptx makes native/cuda/ptx.sha256 anew.";

    [Fact]
    public void Ptx_IsEmbedded_WhereItsCompilerIs()
    {
        bool required = Environment.GetEnvironmentVariable(BackendTests.RequireVariable) == "1" && Ptx.CompilerVersion is not null;
        if (!required)
            Ptx.Require();
        Assert.True(
            Ptx.Missing is null,
            $"{Ptx.Compiler} is here, and this build has no PTX of the sources in native/: ./build.sh native makes it.");
    }

    [Fact]
    public void Ptx_HasTheHashesThatAreCommitted()
    {
        (string version, Dictionary<string, string> committed) = Hashes(Committed());
        string made = MadeWith();
        Assert.SkipUnless(
            made == version, $"The hashes in native/cuda/ptx.sha256 are of '{version}', and this PTX was made with '{made}'.");
        Dictionary<string, string> embedded =
            CudaModules.Embedded().ToDictionary(e => $"{e.Architecture}/{e.File}.ptx", e => Hash(e.Ptx));
        Assert.True(
            Lines(committed).SequenceEqual(Lines(embedded)),
            $"{Remedy} Committed, but not what {made} made of the sources: {string.Join(", ", Lines(committed).Except(Lines(embedded)))}; "
                + $"made: {string.Join(", ", Lines(embedded).Except(Lines(committed)))}.");
    }

    // In another folder, with nothing but the sources by which a build knows that its PTX is out of date.
    [Fact]
    public async Task Ptx_IsTheSame_WhenItIsMadeAgainElsewhere()
    {
        string repository = Path.GetDirectoryName(SharedFiles.RequireRepository("NestedLearning.sln"))!;
        string made = MadeWith();
        Assert.SkipWhen(Ptx.CompilerVersion is null, $"{Ptx.Compiler} is not here (Debian: clang-19) to make the PTX of this build again.");
        Assert.SkipUnless(Ptx.CompilerVersion == made, $"This PTX was made with '{made}', and here is '{Ptx.CompilerVersion}'.");
        string folder = Directory.CreateTempSubdirectory("ptx-").FullName;
        try
        {
            foreach (string source in Sources(repository))
            {
                string copy = Path.Combine(folder, source);
                Directory.CreateDirectory(Path.GetDirectoryName(copy)!);
                File.Copy(Path.Combine(repository, source), copy);
            }

            (string Architecture, string File, string Ptx)[] embedded = [.. CudaModules.Embedded()];
            await Parallel.ForEachAsync(embedded, async (e, cancel) =>
            {
                string kernels = Path.Combine(folder, "native", "kernels");
                string source = Directory.GetFiles(kernels, e.File + ".cu", SearchOption.AllDirectories).Single();
                string output = Path.Combine(folder, $"{e.Architecture}-{e.File}.ptx");
                string flags = $"@{folder}/native/cuda/{e.Architecture}.flags";
                (int status, _, string error) = await Ptx.Run([flags, $"-I{folder}/native", "-S", source, "-o", output]);
                Assert.True(status == 0, $"{source}: {error}");
                string again = await File.ReadAllTextAsync(output, cancel);
                Assert.True(again == e.Ptx, $"{e.File}.ptx is not the same when it is made again.");
            });
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Fact]
    public void CommittedHashes_AreOfEveryFile() =>
        Assert.Equal(
            CudaModules.Files.Select(file => $"sm_80/{file}.ptx").Order(StringComparer.Ordinal),
            Hashes(Committed()).Files.Keys.Order(StringComparer.Ordinal));

    // The list of native/cuda/ptx.cmake.
    private static IEnumerable<string> Sources(string repository) =>
        from file in Directory.GetFiles(Path.Combine(repository, "native", "cuda")).Concat(
            Directory.GetDirectories(Path.Combine(repository, "native", "kernels")).SelectMany(Directory.GetFiles))
        let extension = Path.GetExtension(file)
        let name = Path.GetRelativePath(repository, file).Replace('\\', '/')
        where extension is ".cuh" or ".cu" or ".h" or ".flags"
        select name;

    private static string Committed() => SharedFiles.RequireRepository("native", "cuda", "ptx.sha256");

    /// <summary>The compiler of what is embedded; the test is skipped where that is nothing.</summary>
    private static string MadeWith()
    {
        Ptx.Require();
        return Hashes(SharedFiles.RequireRepository("artifacts", "ptx", "ptx.sha256")).Version;
    }

    // As sha256sum writes them, below a line with the compiler.
    private static (string Version, Dictionary<string, string> Files) Hashes(string path)
    {
        string[] lines = File.ReadAllLines(path);
        return (lines[0]["# ".Length..], lines.Skip(1).Select(line => line.Split("  ")).ToDictionary(part => part[1], part => part[0]));
    }

    private static string Hash(string text) => Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)));

    private static IEnumerable<string> Lines(Dictionary<string, string> hashes) =>
        hashes.Select(pair => $"{pair.Value} {pair.Key}").Order(StringComparer.Ordinal);
}
