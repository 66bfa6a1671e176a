using System.Text.Json;
using NestedLearning.Models;
using Xunit;

namespace NestedLearning.CommandLine.Tests;

public sealed class DescribeCommandTests
{
    public static TheoryData<string> Models => [.. ModelConfiguration.Presets.Select(p => p.Name)];

    [Theory]
    [MemberData(nameof(Models))]
    public void Table_HasEveryMemoryOfTheModel_FastToSlow(string name)
    {
        CommandLineRun run = CommandLineRun.Of("describe", name);
        Assert.Equal((ExitStatus.Success, ""), (run.Status, run.Error));
        using Device device = Device.Open("managed");
        using var model = new SequenceModel(device, ModelConfiguration.Presets.Single(p => p.Name == name).Configuration);
        string[] lines = run.Output.Split('\n');
        Assert.StartsWith("period", lines[0], StringComparison.Ordinal);
        IReadOnlyList<MemoryDescription> memories = model.Describe().Memories;
        for (int i = 0; i < memories.Count; i++)
        {
            Assert.Contains($" {memories[i].Name} ", lines[i + 1], StringComparison.Ordinal);
            Assert.Contains(memories[i].Rule, lines[i + 1], StringComparison.Ordinal);
        }
    }

    [Fact]
    public void Numbers_AreWrittenAsPeopleWriteThem()
    {
        string table = CommandLineRun.Of("describe").Output, json = CommandLineRun.Of("describe", "--json").Output;
        Assert.Contains("β2 = 0.99,", table, StringComparison.Ordinal);
        Assert.Contains("β2 = 0.99,", json, StringComparison.Ordinal);
        Assert.DoesNotMatch(@"\d\.\d{8}|E-\d", table);
        // Its exponents are JSON's own.
        Assert.DoesNotMatch(@"\d\.\d{8}", json);
    }

    [Fact]
    public void Json_HasTheDescriptionAndTheConfigurationOfTheFile()
    {
        using var folder = new TemporaryFolder();
        string path = folder.File("model.json");
        File.WriteAllText(path,
            """
            {
              "mixer": "DeltaNet", "dim": 32, "projectionLevel": 0,
              "levels": [{ "name": "only", "chunk": 7, "learningRate": 0.01, "hidden": 8 }]
            }
            """);
        CommandLineRun run = CommandLineRun.Of("describe", "hope-attention", "--config", path, "--json", "--batch", "3", "--context", "5");
        Assert.Equal((ExitStatus.Success, ""), (run.Status, run.Error));
        using JsonDocument json = JsonDocument.Parse(run.Output);
        JsonElement description = json.RootElement.GetProperty("description");
        Assert.Equal("DeltaNet", description.GetProperty("mixer").GetString());
        Assert.Equal((3, 5), (description.GetProperty("batch").GetInt32(), description.GetProperty("context").GetInt32()));
        JsonElement memory = description.GetProperty("memories").EnumerateArray()
            .Single(m => m.GetProperty("name").GetString() == "associative memory");
        // Two blocks, three sequences, four heads of 8 × 8.
        Assert.Equal(2 * 3 * 4 * 8 * 8 * 4, memory.GetProperty("bytes").GetInt64());
        Assert.Equal(7, memory.GetProperty("frequency").GetDouble());
        Assert.Equal(32, json.RootElement.GetProperty("configuration").GetProperty("dim").GetInt32());
    }

    [Fact]
    public void Optimizers_OfAFile_AreMemoriesAtTheirOwnPeriods()
    {
        using var folder = new TemporaryFolder();
        string path = folder.File("model.json");
        File.WriteAllText(path,
            """
            {
              "levels": [{ "name": "only", "chunk": 8, "learningRate": 0.01, "hidden": 8, "optimizer": "m3" }],
              "projectionLevel": 0
            }
            """);
        CommandLineRun run = CommandLineRun.Of("describe", "transformer", "--config", path);
        Assert.Equal((ExitStatus.Success, ""), (run.Status, run.Error));
        string[] memories = [.. run.Output.Split('\n').Where(l => l.Contains("optimizer of level only", StringComparison.Ordinal))];
        // M3's slow momentum is written every tenth commit.
        Assert.Contains(memories, l => l.StartsWith("80 ", StringComparison.Ordinal) && l.Contains("M3", StringComparison.Ordinal));
        Assert.Contains(memories, l => l.StartsWith("8 ", StringComparison.Ordinal) && l.Contains("AdamW", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("There is no model 'gpt'; known are hope, ", "gpt", null)]
    [InlineData("widht", "hope", """{ "widht": 3 }""")]
    [InlineData("Dim is 30, expected a multiple of Heads = 4.", "hope", """{ "dim": 30 }""")]
    [InlineData("is not a JSON object", "hope", "[1]")]
    [InlineData("mixer", "hope", """{ "mixer": "Magic" }""")]
    [InlineData("There is no optimizer 'sgd', expected one of adamw, ", "hope",
        """{ "levels": [{ "name": "a", "chunk": 1, "learningRate": 1, "hidden": 1, "optimizer": "sgd" }] }""")]
    public void BadInput_IsOneLineThatNamesIt(string expected, string model, string? config)
    {
        using var folder = new TemporaryFolder();
        string[] args = ["describe", model];
        if (config is not null)
        {
            File.WriteAllText(folder.File("c.json"), config);
            args = [.. args, "--config", folder.File("c.json")];
        }

        CommandLineRun run = CommandLineRun.Of(args);
        Assert.Equal(ExitStatus.BadInput, run.Status);
        Assert.Contains(expected, Assert.Single(run.Error.Split('\n', StringSplitOptions.RemoveEmptyEntries)), StringComparison.Ordinal);
    }
}
