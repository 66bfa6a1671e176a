namespace NestedLearning.CommandLine.Tests;

/// <summary>What one command line did, run in this process.</summary>
internal sealed record CommandLineRun(int Status, string Output, string Error)
{
    public static CommandLineRun Of(params string[] args)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        int status = Program.RunAsync(args, output, error).GetAwaiter().GetResult();
        return new CommandLineRun(status, output.ToString(), error.ToString());
    }
}

/// <summary>A folder that is deleted after the test.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    public string Path { get; } = Directory.CreateTempSubdirectory("nl-tests-").FullName;

    public string File(string name) => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
