using System.Text.Json;
using NestedLearning.CommandLine.Learn;
using Xunit;

namespace NestedLearning.CommandLine.Tests;

public sealed class LearnCommandTests
{
    public static TheoryData<string> Names => [.. LearnTask.All.Select(t => t.Name)];

    [Fact]
    public void Tasks_AreThese() =>
        Assert.Equal(["recall", "parity", "modular", "regression", "shift", "meta", "optimizers", "levels"],
            LearnTask.All.Select(t => t.Name));

    [Theory]
    [MemberData(nameof(Names))]
    public void Json_HasANumberForEveryColumn(string name)
    {
        // Enough for a table, not for learning.
        JsonElement report = Run(name, "--seed", "3");
        Assert.Equal(name, report.GetProperty("task").GetString());
        Assert.Equal(3, report.GetProperty("seed").GetInt32());
        foreach (JsonElement table in report.GetProperty("tables").EnumerateArray())
        {
            int columns = table.GetProperty("columns").GetArrayLength();
            Assert.True(table.GetProperty("rows").GetArrayLength() > 1);
            foreach (JsonElement row in table.GetProperty("rows").EnumerateArray())
            {
                Assert.Equal(columns, row.GetProperty("values").GetArrayLength());
                Assert.Contains(row.GetProperty("values").EnumerateArray(), v =>
                    v.ValueKind == JsonValueKind.Number && double.IsFinite(v.GetDouble()));
            }
        }
    }

    [Fact]
    public void Result_DependsOnTheSeed_AndNotOnThreads()
    {
        string one = Tables("--threads", "1");
        Assert.Equal(one, Tables("--threads", "3"));
        Assert.NotEqual(one, Tables("--seed", "2"));

        static string Tables(params string[] options) => Run("meta", options).GetProperty("tables").GetRawText();
    }

    [Fact]
    public void Text_IsATable_AndProgressGoesToTheErrorOutput()
    {
        CommandLineRun run = CommandLineRun.Of("learn", "meta", "--steps", "2", "--device", "managed");
        Assert.Equal(ExitStatus.Success, run.Status);
        Assert.StartsWith("meta: ", run.Output, StringComparison.Ordinal);
        Assert.Contains("ridge regression around the mean", run.Output, StringComparison.Ordinal);
        Assert.Contains("learned, second order: ", run.Error, StringComparison.Ordinal);
    }

    [Fact]
    public void UnknownTask_AndStepsBelowOne_AreErrors()
    {
        CommandLineRun run = CommandLineRun.Of("learn", "recal");
        Assert.Equal(ExitStatus.BadInput, run.Status);
        Assert.StartsWith("nl: There is no task 'recal'; known are recall, ", run.Error, StringComparison.Ordinal);
        run = CommandLineRun.Of("learn", "recall", "--steps", "0");
        Assert.Equal(ExitStatus.BadInput, run.Status);
        Assert.StartsWith("nl: --steps is 0, expected at least 1.", run.Error, StringComparison.Ordinal);
    }

    private static JsonElement Run(string name, params string[] options)
    {
        string steps = name is "shift" or "levels" ? "256" : "2";
        CommandLineRun run = CommandLineRun.Of(["learn", name, "--steps", steps, "--json", "--quiet", .. options]);
        Assert.Equal("", run.Error);
        Assert.Equal(ExitStatus.Success, run.Status);
        return JsonDocument.Parse(run.Output).RootElement;
    }
}
