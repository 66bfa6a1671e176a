using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;
using NestedLearning.Models.Continual;

namespace NestedLearning.Models;

/// <summary>Configurations with every setting as JSON, as checkpoints carry them.</summary>
[JsonSourceGenerationOptions(UseStringEnumConverter = true, IgnoreReadOnlyProperties = true,
    NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    RespectNullableAnnotations = true, Converters = [typeof(OptimizerConverter)])]
[JsonSerializable(typeof(ModelConfiguration))]
[JsonSerializable(typeof(ContinuumMemoryConfiguration))]
[JsonSerializable(typeof(RidgeMemoryConfiguration))]
[JsonSerializable(typeof(SlotSettings))]
internal sealed partial class ConfigurationJson : JsonSerializerContext
{
    /// <summary>The settings of a model that decide its initial values alone.</summary>
    public static IReadOnlyCollection<string> InitialOfModel { get; } = [nameof(Models.ModelConfiguration.Seed)];

    /// <summary>The settings of a continuum memory that decide its initial values alone.</summary>
    public static IReadOnlyCollection<string> InitialOfMemory { get; } =
        [nameof(Models.ContinuumMemoryConfiguration.Seed), nameof(Models.ContinuumMemoryConfiguration.OutputDeviation)];

    /// <summary>Every setting of a model.</summary>
    public static JsonNode Of(ModelConfiguration configuration) =>
        JsonSerializer.SerializeToNode(configuration, Default.ModelConfiguration)!;

    /// <summary>Every setting of a continuum memory.</summary>
    public static JsonNode Of(ContinuumMemoryConfiguration configuration) =>
        JsonSerializer.SerializeToNode(configuration, Default.ContinuumMemoryConfiguration)!;

    /// <summary>Every setting of a ridge memory.</summary>
    public static JsonNode Of(RidgeMemoryConfiguration configuration) =>
        JsonSerializer.SerializeToNode(configuration, Default.RidgeMemoryConfiguration)!;

    /// <summary>Every setting of a level of slots.</summary>
    public static JsonNode Of(SlotSettings settings) => JsonSerializer.SerializeToNode(settings, Default.SlotSettings)!;

    /// <summary>The model's configuration in a checkpoint.</summary>
    /// <exception cref="CheckpointException">There is none, it is another version's, or it has an optimizer that is not this
    /// library's.</exception>
    public static ModelConfiguration Read(SafetensorsFile file, string prefix) =>
        Read(file, prefix, "a model's", Default.ModelConfiguration, configuration =>
        {
            if (configuration.Levels.Contains(null!))
                throw new JsonException("A level is null.");
            configuration.Validate();
        });

    /// <summary>The ridge memory's configuration in a checkpoint.</summary>
    /// <exception cref="CheckpointException">There is none, or it is another version's.</exception>
    public static RidgeMemoryConfiguration ReadRidge(SafetensorsFile file, string prefix) =>
        Read(file, prefix, "a ridge memory's", Default.RidgeMemoryConfiguration, configuration => configuration.Validate());

    /// <summary>The settings of slots in a checkpoint.</summary>
    /// <exception cref="CheckpointException">There are none, or they are another version's.</exception>
    public static SlotSettings ReadSlots(SafetensorsFile file, string prefix) =>
        Read(file, prefix, "those of slots", Default.SlotSettings, settings => settings.Validate());

    private static T Read<T>(SafetensorsFile file, string prefix, string what, JsonTypeInfo<T> type, Action<T> validate)
        where T : class
    {
        JsonObject saved = CheckpointSettings.Read(file, prefix)
            ?? throw new CheckpointException($"The file has no '{prefix}{CheckpointSettings.Key}' in its metadata, expected {what}.");
        T settings;
        try
        {
            settings = saved.Deserialize(type)
                ?? throw new CheckpointException($"The file's '{prefix}{CheckpointSettings.Key}' is null.");
            validate(settings);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ArgumentException)
        {
            throw new CheckpointException($"The file's '{prefix}{CheckpointSettings.Key}' cannot be used: {e.Message}", e);
        }

        // A setting that the file does not have would be zero.
        CheckpointSettings.Check(file, prefix, JsonSerializer.SerializeToNode(settings, type)!, allow: null);
        return settings;
    }
}
