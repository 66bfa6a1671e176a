using System.Text.Json;
using System.Text.Json.Nodes;
using NestedLearning.CommandLine.Describe;
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
    [InlineData("widht is not a field, expected one of mixer, ", "hope", """{ "widht": 3 }""")]
    [InlineData("Dim is 30, expected a multiple of Heads = 4.", "hope", """{ "dim": 30 }""")]
    [InlineData("c.json': it is a list, expected an object", "hope", "[1]")]
    [InlineData("c.json': it is null, expected an object", "hope", "null")]
    [InlineData("levels is null, expected a list", "hope", """{ "levels": null }""")]
    [InlineData("levels[1] is null, expected an object with fields of name, chunk, ", "hope",
        """{ "levels": [{ "name": "a", "chunk": 1, "learningRate": 1, "hidden": 1 }, null] }""")]
    [InlineData("levels[0] has no hidden, expected a whole number", "hope",
        """{ "levels": [{ "name": "a", "chunk": 1, "learningRate": 1 }] }""")]
    [InlineData("levels[0].chunk is 1.5, expected a whole number", "hope",
        """{ "levels": [{ "name": "a", "chunk": 1.5, "learningRate": 1, "hidden": 1 }] }""")]
    [InlineData("selfModifying is null, expected an object", "hope", """{ "selfModifying": null, "continuum": null }""")]
    [InlineData("selfModifying.key.kind is \"Round\", expected one of \"Matrix\", \"Deep\"", "hope",
        """{ "selfModifying": { "key": { "kind": "Round" } } }""")]
    [InlineData("dim is given twice, expected once", "hope", """{ "dim": 32, "heads": 2, "dim": 64 }""")]
    [InlineData("dim is \"32\", expected a whole number", "hope", """{ "dim": "32" }""")]
    [InlineData("c.json': ", "hope", "{ \"dim\": ")]
    [InlineData("mixer is \"Magic\", expected one of \"SelfModifyingTitans\", ", "hope", """{ "mixer": "Magic" }""")]
    [InlineData("levels[0].optimizer is \"sgd\", expected one of \"adamw\", ", "hope",
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

    /// <summary>Whatever stands in a field, it is taken or refused by the field's name.</summary>
    [Fact]
    public void EveryField_IsCheckedByItsName()
    {
        using var folder = new TemporaryFolder();
        string path = folder.File("c.json");
        int refused = 0;
        JsonNode whole = JsonSerializer.SerializeToNode(ModelConfiguration.Hope, ConfigurationFile.Json)!;
        foreach (string field in Fields(whole, ""))
        {
            foreach (string value in (string[])["null", "\"text\"", "[]", "[null]", "{}", "{\"x\": 1}", "true", "1.5", "1e99", "-1e30",
                "99999999999999999999"])
            {
                JsonNode changed = whole.DeepClone();
                Set(changed, field, JsonNode.Parse(value));
                File.WriteAllText(path, changed.ToJsonString());
                try
                {
                    ConfigurationFile.Load("hope", path);
                }
                catch (CaseException e)
                {
                    refused++;
                    Assert.Contains($"'{path}': ", e.Message, StringComparison.Ordinal);
                    Assert.Contains(field.Split('.')[^1], e.Message, StringComparison.OrdinalIgnoreCase);
                }
            }

            // Twice at the top, where another file's fields go over a preset's.
            if (!field.Contains('.', StringComparison.Ordinal) && !field.Contains('[', StringComparison.Ordinal))
            {
                string text = whole[field]?.ToJsonString() ?? "null";
                File.WriteAllText(path, $"{{\"{field}\": {text}, \"{field}\": {text}}}");
                Assert.Contains($"{field} is given twice", Assert.Throws<CaseException>(() => ConfigurationFile.Load("hope", path)).Message,
                    StringComparison.Ordinal);
            }
        }

        Assert.True(refused > 400, $"{refused} values were refused.");
    }

    private static IEnumerable<string> Fields(JsonNode? node, string path) => node switch
    {
        JsonObject fields => fields.SelectMany(f => (string[])[Join(path, f.Key), .. Fields(f.Value, Join(path, f.Key))]),
        JsonArray items => Fields(items[0], path + "[0]"),
        _ => [],
    };

    private static string Join(string path, string name) => path.Length == 0 ? name : $"{path}.{name}";

    private static void Set(JsonNode node, string path, JsonNode? value)
    {
        string[] names = path.Replace("[0]", ".0", StringComparison.Ordinal).Split('.');
        foreach (string name in names[..^1])
            node = (name == "0" ? node[0] : node[name])!;
        node[names[^1]] = value;
    }
}
