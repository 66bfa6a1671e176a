using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Json.Nodes;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace NestedLearning;

/// <summary>Optimizers with all their settings as JSON: their class as <c>Type</c>, and every setting by its name.</summary>
[JsonSourceGenerationOptions(UseStringEnumConverter = true, IgnoreReadOnlyProperties = true,
    NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals, UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    RespectNullableAnnotations = true,
    Converters = [typeof(OptimizerConverter), typeof(PreconditionerConverter), typeof(FeatureMapConverter)])]
[JsonSerializable(typeof(AdaGrad))]
[JsonSerializable(typeof(Adam))]
[JsonSerializable(typeof(DeepMomentum))]
[JsonSerializable(typeof(DeltaGradientDescent))]
[JsonSerializable(typeof(DeltaMomentum))]
[JsonSerializable(typeof(DiagonalPreconditioner))]
[JsonSerializable(typeof(FollowTheRegularizedLeader))]
[JsonSerializable(typeof(GradientDescent))]
[JsonSerializable(typeof(M3))]
[JsonSerializable(typeof(MatrixPreconditioner))]
[JsonSerializable(typeof(Momentum))]
[JsonSerializable(typeof(Muon))]
[JsonSerializable(typeof(PreconditionedMomentum))]
[JsonSerializable(typeof(Optimizer))]
internal sealed partial class OptimizerJson : JsonSerializerContext
{
    /// <summary>The settings of an optimizer. Of a class that is not this library's only its name and rule.</summary>
    public static JsonNode Write(Optimizer optimizer) => JsonSerializer.SerializeToNode(optimizer, Default.Optimizer)!;

    /// <summary>The classes that can be read, by name.</summary>
    internal static bool TryFind(string? name, [NotNullWhen(true)] out JsonTypeInfo? info) =>
        (info = name is null ? null : Array.Find(Types.All, t => t.Type.Name == name)) is not null;

    /// <summary>An object's class and settings.</summary>
    internal static JsonObject Fields(object value, string rule)
    {
        Type type = value.GetType();
        var fields = new JsonObject();
        if (TryFind(type.Name, out JsonTypeInfo? info) && info.Type == type)
        {
            fields[TypeName] = type.Name;
            foreach ((string name, JsonNode? setting) in JsonSerializer.SerializeToNode(value, info)!.AsObject())
                fields[name] = setting?.DeepClone();
            return fields;
        }

        fields[TypeName] = type.FullName;
        fields["Rule"] = rule;
        return fields;
    }

    /// <summary>The object that <see cref="Fields"/> wrote.</summary>
    internal static T Make<T>(JsonObject fields)
    {
        string? name = (string?)fields[TypeName];
        if (!TryFind(name, out JsonTypeInfo? info) || !info.Type.IsAssignableTo(typeof(T)))
            throw new JsonException($"The class '{name}' is not one of this library's {typeof(T).Name}s, so that it cannot be made.");
        JsonObject settings = fields.DeepClone().AsObject();
        settings.Remove(TypeName);
        return (T)JsonSerializer.Deserialize(settings, info)!;
    }

    internal const string TypeName = "Type";

    // A class of its own, as the parts of this one are initialised in no certain order.
    private static class Types
    {
        public static JsonTypeInfo[] All { get; } =
        [
            Default.AdaGrad, Default.Adam, Default.DeepMomentum, Default.DeltaGradientDescent, Default.DeltaMomentum,
            Default.DiagonalPreconditioner, Default.FollowTheRegularizedLeader, Default.GradientDescent, Default.M3,
            Default.MatrixPreconditioner, Default.Momentum, Default.Muon, Default.PreconditionedMomentum,
        ];
    }
}

/// <summary>Reads and writes optimizers.</summary>
internal sealed class OptimizerConverter : JsonConverter<Optimizer>
{
    private const string Rules = "Rules", For = "For", Except = "Except", Rule = "Optimizer";

    public override Optimizer Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        Make(JsonNode.Parse(ref reader) as JsonObject ?? throw new JsonException("An optimizer is a JSON object."));

    public override void Write(Utf8JsonWriter writer, Optimizer value, JsonSerializerOptions options) => Fields(value).WriteTo(writer);

    private static JsonObject Fields(Optimizer value)
    {
        if (value is not OptimizerRules rules)
            return OptimizerJson.Fields(value, value.Rule);
        return new JsonObject
        {
            [OptimizerJson.TypeName] = nameof(OptimizerRules),
            [Except] = rules.Except is null ? null : new JsonArray([.. rules.Except.Select(e => (JsonNode)e)]),
            [Rules] = new JsonArray([.. rules.Rules.Select(r => new JsonObject { [For] = r.For, [Rule] = Fields(r.Optimizer) })]),
        };
    }

    private static Optimizer Make(JsonObject fields)
    {
        if ((string?)fields[OptimizerJson.TypeName] != nameof(OptimizerRules))
            return OptimizerJson.Make<Optimizer>(fields);
        Optimizer[] optimizers = [.. (fields[Rules] as JsonArray ?? []).Select(r => r?[Rule] is JsonObject optimizer ? Make(optimizer)
            : throw new JsonException("A rule has no optimizer."))];
        // What a rule of somebody else's applies to is code.
        return fields[Except] is JsonArray except && optimizers.Length == 2
            ? OptimizerRules.ByShape(optimizers[0], optimizers[1], [.. except.Select(e => (string)e!)])
            : throw new JsonException($"The rules by which optimizers are chosen are code, other than those of {nameof(OptimizerRules)}." +
                $"{nameof(OptimizerRules.ByShape)}, and cannot be made.");
    }
}

/// <summary>Reads and writes preconditioners.</summary>
internal sealed class PreconditionerConverter : JsonConverter<Preconditioner>
{
    public override Preconditioner Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
        JsonNode.Parse(ref reader) is JsonObject fields ? OptimizerJson.Make<Preconditioner>(fields) : Preconditioner.Identity;

    public override bool HandleNull => true;

    public override void Write(Utf8JsonWriter writer, Preconditioner value, JsonSerializerOptions options)
    {
        if (value == Preconditioner.Identity)
            writer.WriteNullValue();
        else
            OptimizerJson.Fields(value, value.Rule).WriteTo(writer);
    }
}

/// <summary>Reads and writes feature maps: those of this library by their terms.</summary>
internal sealed class FeatureMapConverter : JsonConverter<FeatureMap>
{
    private static readonly FeatureMap[] s_all = [FeatureMap.Identity, FeatureMap.UnitRows, FeatureMap.Cubic];

    public override FeatureMap Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options)
    {
        string? term = reader.GetString();
        return s_all.FirstOrDefault(m => m.Term == term) ?? throw new JsonException($"There is no feature map '{term}'.");
    }

    public override void Write(Utf8JsonWriter writer, FeatureMap value, JsonSerializerOptions options) =>
        writer.WriteStringValue(s_all.Contains(value) ? value.Term : $"{value.GetType().FullName}: {value.Term}");
}
