using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using NestedLearning.Models;

namespace NestedLearning.CommandLine.Describe;

/// <summary>
/// A model's configuration from a preset and, over it, the fields of a JSON file with the names of <see cref="ModelConfiguration"/>.
/// </summary>
internal static class ConfigurationFile
{
    public static JsonSerializerOptions Json { get; } = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
        WriteIndented = true,
        // Equations are for people.
        Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        Converters = { new JsonStringEnumConverter(), new OptimizerConverter() },
    };

    /// <exception cref="CaseException">There is no such preset, or the file does not hold fields of a configuration.</exception>
    public static ModelConfiguration Load(string preset, string? path)
    {
        ModelConfiguration configuration = ModelConfiguration.Presets.FirstOrDefault(p => p.Name == preset).Configuration
            ?? throw new CaseException($"There is no model '{preset}'; known are " +
                $"{string.Join(", ", ModelConfiguration.Presets.Select(p => p.Name))}.");
        return path is null ? configuration : Parse(configuration, File.ReadAllText(path), path);
    }

    /// <summary>A configuration with the fields that a text has, which is that of a path.</summary>
    /// <exception cref="CaseException">The text does not hold fields of a configuration.</exception>
    public static ModelConfiguration Parse(ModelConfiguration configuration, string text, string path)
    {
        try
        {
            using (var document = JsonDocument.Parse(text))
                ConfigurationCheck.Check(document.RootElement, typeof(ModelConfiguration));
            JsonObject fields = JsonSerializer.SerializeToNode(configuration, Json)!.AsObject();
            foreach ((string name, JsonNode? value) in JsonNode.Parse(text)!.AsObject())
                fields[name] = value?.DeepClone();
            ModelConfiguration given = fields.Deserialize<ModelConfiguration>(Json)!;
            given.Validate();
            return given;
        }
        catch (Exception e) when (e is JsonException or CaseException or ArgumentException)
        {
            throw new CaseException($"'{path}': {Program.Describe(e)}", e);
        }
    }

    // Optimizers are read by name, and written as their rule.
    private sealed class OptimizerConverter : JsonConverter<Optimizer>
    {
        public override Optimizer Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
        {
            if (reader.TokenType != JsonTokenType.String)
                throw new JsonException($"An optimizer is one of {string.Join(", ", NamedOptimizers.Names)}.");
            try
            {
                return NamedOptimizers.Create(reader.GetString()!);
            }
            catch (ArgumentException e)
            {
                throw new JsonException(Program.Describe(e));
            }
        }

        public override void Write(Utf8JsonWriter writer, Optimizer value, JsonSerializerOptions options) =>
            writer.WriteStringValue(value.Rule);
    }
}
