using System.Text;
using NestedLearning.CommandLine;
using NestedLearning.CommandLine.Describe;
using NestedLearning.Models;

namespace NestedLearning.Reliability.Fuzzing;

/// <summary>The JSON of <c>nl describe --config</c>, over each preset.</summary>
internal sealed class ConfigurationTarget : FuzzTarget
{
    public override string Name => "configuration";

    public override IReadOnlyList<string> Words { get; } =
    [
        .. typeof(ModelConfiguration).GetProperties().Select(p => $"\"{char.ToLowerInvariant(p.Name[0])}{p.Name[1..]}\":"), "null", "true",
        "{", "}", "[", "]",
    ];

    public override IEnumerable<byte[]> Seeds() =>
        ModelConfiguration.Presets.Select(p =>
            Encoding.UTF8.GetBytes(System.Text.Json.JsonSerializer.Serialize(p.Configuration, ConfigurationFile.Json)))

            .Append("{}"u8.ToArray()).Append("{\"dim\":8,\"levels\":[null]}"u8.ToArray());

    public override void Run(ReadOnlySpan<byte> input)
    {
        ModelConfiguration preset = ModelConfiguration.Presets[input.Length % ModelConfiguration.Presets.Count].Configuration;
        ConfigurationFile.Parse(preset, Encoding.UTF8.GetString(input), "input");
    }

    public override bool IsRefusal(Exception error) => error is CaseException;
}
