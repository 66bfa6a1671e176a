using System.Diagnostics;
using Xunit;

namespace NestedLearning.CommandLine.Tests;

/// <summary>
/// Settings of the native library in the environment, which it reads once: each in a process of its own. One that cannot be
/// had is an error with what there is, and never another backend.
/// </summary>
public sealed class EnvironmentTests
{
    private const string Target = "NESTED_LEARNING_TARGET", Path = "NESTED_LEARNING_NATIVE";

    [Fact]
    public void MissingTarget_IsAnErrorOfEveryCommand()
    {
        RequireNative();
        foreach (string[] command in new string[][] { ["stream"], ["stream", "--device", "cpu"], ["doctor"], ["bench"] })
        {
            (int status, string output, string error) = Run(Target, "NoSuchTarget", command);
            Assert.Equal(ExitStatus.BadInput, status);
            Assert.Matches($@"^nl: {Target} is NoSuchTarget, expected one of \w+(, \w+)*\.\n$", error);
            Assert.Equal(command[0] == "doctor", output.Contains("runs on", StringComparison.Ordinal));
        }
    }

    [Fact]
    public void EveryTargetOfThisMachine_CanBeNamed()
    {
        RequireNative();
        string allowed = Run(Target, "NoSuchTarget", "doctor").Error.Split("expected one of ")[1].TrimEnd('.', '\n');
        Assert.All(allowed.Split(", "), target =>
        {
            (int status, string output, _) = Run(Target, target, "doctor");
            Assert.Equal(ExitStatus.Success, status);
            string runsOn = Assert.Single(output.Split('\n'), line => line.StartsWith("runs on", StringComparison.Ordinal));
            Assert.Contains(target, runsOn.Split(';')[0], StringComparison.Ordinal);
        });
    }

    [Fact]
    public void MissingLibrary_IsAnErrorWhereItsPathIsGiven()
    {
        (int status, _, string error) = Run(Path, "/no/such/library.so", "doctor");
        Assert.Equal(ExitStatus.BadInput, status);
        Assert.Contains("/no/such/library.so", error, StringComparison.Ordinal);
        Assert.Equal(ExitStatus.Success, Run(Path, "/no/such/library.so", "op", "--help").Status);
    }

    // The reason of a backend that is absent is its tests' affair.
    private static void RequireNative()
    {
        BackendReport report = Device.Probe().Single(r => r.Name == "cpu");
        Assert.SkipUnless(report.Available, report.Detail);
    }

    private static (int Status, string Output, string Error) Run(string variable, string value, params string[] arguments)
    {
        string program = System.IO.Path.Combine(AppContext.BaseDirectory, "nl.dll");
        var start = new ProcessStartInfo("dotnet", [program, .. arguments]) { RedirectStandardOutput = true, RedirectStandardError = true };
        start.Environment.Remove(Target);
        start.Environment.Remove(Path);
        start.Environment[variable] = value;
        using Process process = Process.Start(start)!;
        Task<string> error = process.StandardError.ReadToEndAsync(TestContext.Current.CancellationToken);
        string output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, output, error.Result.ReplaceLineEndings("\n"));
    }
}
