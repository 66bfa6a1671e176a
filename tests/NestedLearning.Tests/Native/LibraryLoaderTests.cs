using NestedLearning.Native;
using Xunit;

namespace NestedLearning.Tests;

public sealed class LibraryLoaderTests : IDisposable
{
    private readonly string _directory = Directory.CreateTempSubdirectory("loader").FullName;

    public void Dispose() => Directory.Delete(_directory, recursive: true);

    [Fact]
    public void Candidates_AreTheApplicationsDirectoriesInOrder()
    {
        string other = Path.Combine(_directory, "package");
        List<string> candidates = LibraryLoader.Candidates(null, $"{other}{Path.PathSeparator}{_directory}", _directory);
        Assert.Equal(
            [
                Path.Combine(_directory, LibraryLoader.FileName),
                Path.Combine(_directory, "runtimes", LibraryLoader.RuntimeIdentifier, "native", LibraryLoader.FileName),
                Path.Combine(other, LibraryLoader.FileName),
            ],
            candidates);
    }

    [Fact]
    public void GivenPath_IsTheOnlyCandidate()
    {
        string file = Path.Combine(_directory, "elsewhere.so");
        Assert.Equal([file], LibraryLoader.Candidates(file, "/somewhere", "/application"));
        Assert.Equal([Path.Combine(_directory, LibraryLoader.FileName)],
            LibraryLoader.Candidates(_directory, "/somewhere", "/application"));
    }

    [Fact]
    public void MissingLibrary_SaysWhatWasTriedAndWhatToDo()
    {
        List<string> candidates = LibraryLoader.Candidates(null, null, _directory);
        Assert.Equal(0, LibraryLoader.Load(candidates, out string? failure));
        Assert.NotNull(failure);
        Assert.All(candidates, path => Assert.Contains(path, failure, StringComparison.Ordinal));
        Assert.Contains(LibraryLoader.RuntimeIdentifier, failure, StringComparison.Ordinal);
        Assert.Contains("None of these files exists", failure, StringComparison.Ordinal);
        Assert.Contains("NestedLearning.Native", failure, StringComparison.Ordinal);
        Assert.Contains(LibraryLoader.PathVariable, failure, StringComparison.Ordinal);
    }

    [Fact]
    public void BrokenLibrary_GivesTheFirstSystemError()
    {
        string first = Path.Combine(_directory, "first.so");
        string second = Path.Combine(_directory, "second.so");
        File.WriteAllText(first, "not a library");
        File.WriteAllText(second, "neither");
        Assert.Equal(0, LibraryLoader.Load([first, second], out string? failure));
        Assert.NotNull(failure);
        int error = failure.IndexOf("The system's error:", StringComparison.Ordinal);
        Assert.True(error > 0, failure);
        Assert.Contains("first.so", failure[error..], StringComparison.Ordinal);
        Assert.DoesNotContain("second.so", failure[error..], StringComparison.Ordinal);
    }

    [Fact]
    public void Mismatch_NamesTheFirstDifference()
    {
        static uint Right(string name) => (uint)Kernels.StructSizes.First(s => s.Name == name).Size;
        Assert.Null(KernelLibrary.Mismatch(Kernels.AbiVersion, Right));
        Assert.Equal(
            $"its interface has version {Kernels.AbiVersion + 1}, expected {Kernels.AbiVersion}",
            KernelLibrary.Mismatch(Kernels.AbiVersion + 1, Right));
        Assert.Equal(
            $"its nl_gemm_arguments has 8 bytes, expected {Right("nl_gemm_arguments")}",
            KernelLibrary.Mismatch(Kernels.AbiVersion, name => name == "nl_gemm_arguments" ? 8 : Right(name)));
    }
}
