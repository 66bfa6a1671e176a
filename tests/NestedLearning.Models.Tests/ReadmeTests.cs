using System.Diagnostics;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Models.Tests;

public sealed class ReadmeTests
{
    [Fact]
    public void Example_IsTheSampleThatIsCompiled()
    {
        string readme = File.ReadAllText(Path.Combine(SharedFiles.Repository!, "README.md"));
        const string Fence = "```csharp\n";
        int start = readme.IndexOf(Fence, StringComparison.Ordinal) + Fence.Length;
        Assert.True(start >= Fence.Length, "The README has no C# example.");
        string example = readme[start..readme.IndexOf("```", start, StringComparison.Ordinal)];
        Assert.Equal(File.ReadAllText(Path.Combine(SharedFiles.Repository!, "samples", "Embedding", "Program.cs")), example);
    }

    [Fact]
    public void Example_ReadsAText()
    {
        string text = Path.GetTempFileName();
        try
        {
            File.WriteAllText(text, string.Concat(Enumerable.Repeat("to be or not to be; ", 40)));
            using Process process = Process.Start(
                new ProcessStartInfo("dotnet")
                {
                    ArgumentList = { Path.Combine(AppContext.BaseDirectory, "Embedding.dll"), text },
                    RedirectStandardOutput = true
                })!;
            string[] lines = process.StandardOutput.ReadToEnd().Split('\n', StringSplitOptions.RemoveEmptyEntries);
            process.WaitForExit();
            Assert.Equal(0, process.ExitCode);
            Assert.StartsWith("800 bytes: ", lines[^1], StringComparison.Ordinal);
        }
        finally
        {
            File.Delete(text);
        }
    }
}
