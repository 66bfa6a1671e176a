using System.Globalization;
using System.Reflection;
using System.Text.Json;
using NestedLearning.Models;

namespace NestedLearning.CommandLine.Describe;

/// <summary>
/// Checks JSON against the records it is to become, field by field, so that an error names the field, what it has and what was
/// expected.
/// </summary>
internal static class ConfigurationCheck
{
    private static readonly NullabilityInfoContext s_nullability = new();

    /// <exception cref="CaseException">A field is unknown, given twice, missing, null or of another type.</exception>
    public static void Check(JsonElement element, Type type) => Check(element, type, nullable: false, "");

    private static void Check(JsonElement element, Type type, bool nullable, string path)
    {
        type = Nullable.GetUnderlyingType(type) ?? type;
        if (element.ValueKind == JsonValueKind.Null && nullable)
            return;
        if (ElementOf(type) is { } item && element.ValueKind == JsonValueKind.Array)
        {
            int i = 0;
            foreach (JsonElement part in element.EnumerateArray())
                Check(part, item, nullable: false, string.Create(CultureInfo.InvariantCulture, $"{path}[{i++}]"));
        }
        else if (IsRecord(type) && element.ValueKind == JsonValueKind.Object)
        {
            CheckFields(element, type, path);
        }
        else if (!IsValue(element, type))
        {
            throw new CaseException(path.Length == 0 ? $"it is {Describe(element)}, expected an object with fields of a configuration."
                : $"{path} is {Describe(element)}, expected {Expected(type)}{(nullable ? " or null" : "")}.");
        }
    }

    private static void CheckFields(JsonElement element, Type type, string path)
    {
        PropertyInfo[] properties = Fields(type);
        var given = new HashSet<string>(StringComparer.Ordinal);
        foreach (JsonProperty field in element.EnumerateObject())
        {
            string whole = path.Length == 0 ? field.Name : $"{path}.{field.Name}";
            PropertyInfo property = Array.Find(properties, p => NameOf(p.Name) == field.Name)
                ?? throw new CaseException(
                    $"{whole} is not a field, expected one of {string.Join(", ", properties.Select(p => NameOf(p.Name)))}.");
            if (!given.Add(field.Name))
                throw new CaseException($"{whole} is given twice, expected once.");
            bool nullable = s_nullability.Create(property).WriteState == NullabilityState.Nullable;
            Check(field.Value, property.PropertyType, nullable, whole);
        }

        // Of a record's own fields those without a default.
        foreach (ParameterInfo parameter in type.GetConstructors().SelectMany(c => c.GetParameters()).Where(p => !p.HasDefaultValue))
        {
            if (!given.Contains(NameOf(parameter.Name!)))
                throw new CaseException($"{path} has no {NameOf(parameter.Name!)}, expected {Expected(parameter.ParameterType)}.");
        }
    }

    private static bool IsValue(JsonElement element, Type type)
    {
        switch (element.ValueKind)
        {
            case JsonValueKind.True or JsonValueKind.False:
                return type == typeof(bool);
            case JsonValueKind.Number when type == typeof(int):
                return element.TryGetInt32(out _);
            case JsonValueKind.Number when type == typeof(ulong):
                return element.TryGetUInt64(out _);
            case JsonValueKind.Number when type == typeof(float):
                return element.TryGetSingle(out float single) && float.IsFinite(single);
            case JsonValueKind.Number when type == typeof(double):
                return element.TryGetDouble(out double number) && double.IsFinite(number);
            case JsonValueKind.String when type.IsEnum:
                return Enum.GetNames(type).Contains(element.GetString(), StringComparer.OrdinalIgnoreCase);
            case JsonValueKind.String when type == typeof(Optimizer):
                return NamedOptimizers.Names.Contains(element.GetString());
            default:
                return element.ValueKind == JsonValueKind.String && type == typeof(string);
        }
    }

    private static string Expected(Type type)
    {
        if (ElementOf(type) is { } item)
            return $"a list, each of {Expected(item)}";
        if (type == typeof(bool))
            return "true or false";
        if (type == typeof(int))
            return "a whole number";
        if (type == typeof(ulong))
            return "a whole number of at least 0";
        if (type == typeof(float) || type == typeof(double))
            return "a finite number";
        if (type.IsEnum)
            return $"one of {string.Join(", ", Enum.GetNames(type).Select(n => $"\"{n}\""))}";
        if (type == typeof(Optimizer))
            return $"one of {string.Join(", ", NamedOptimizers.Names.Select(n => $"\"{n}\""))}";
        return type == typeof(string) ? "a text"
            : $"an object with fields of {string.Join(", ", Fields(type).Select(p => NameOf(p.Name)))}";
    }

    private static string Describe(JsonElement element)
    {
        const int Longest = 60;
        return element.ValueKind switch
        {
            JsonValueKind.Null => "null",
            JsonValueKind.Array => "a list",
            JsonValueKind.Object => "an object",
            _ when element.GetRawText() is { Length: > Longest } text => text[..Longest] + "…",
            _ => element.GetRawText(),
        };
    }

    private static bool IsRecord(Type type) => type.IsClass && type != typeof(string) && type != typeof(Optimizer);

    private static Type? ElementOf(Type type) =>
        type.IsGenericType && type.GetGenericTypeDefinition() == typeof(IReadOnlyList<>) ? type.GetGenericArguments()[0] : null;

    private static PropertyInfo[] Fields(Type type) =>
        [.. type.GetProperties(BindingFlags.Instance | BindingFlags.Public).Where(p => p.CanWrite)];

    private static string NameOf(string property) => JsonNamingPolicy.CamelCase.ConvertName(property);
}
