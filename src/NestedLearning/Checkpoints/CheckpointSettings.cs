using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;

namespace NestedLearning;

/// <summary>
/// The configuration that a checkpoint carries as JSON in its metadata, and its comparison with that of what it is loaded into.
/// Settings are named by their path, such as <c>Levels[0].LearningRate</c>.
/// </summary>
internal static class CheckpointSettings
{
    /// <summary>The key of the configuration in the metadata, behind the checkpoint's prefix.</summary>
    public const string Key = "configuration";

    private static readonly JsonDocumentOptions s_strict = new() { AllowDuplicateProperties = false };

    private const int MostDifferences = 8;
    private const int LongestValue = 200;
    private const string Absent = "not set";

    /// <summary>Writes a configuration.</summary>
    public static void Save(SafetensorsFile file, string prefix, JsonNode settings) =>
        file.Metadata[prefix + Key] = settings.ToJsonString();

    /// <summary>The configuration of a file; null where it has none.</summary>
    /// <exception cref="CheckpointException">It is not JSON.</exception>
    public static JsonObject? Read(SafetensorsFile file, string prefix)
    {
        if (!file.Metadata.TryGetValue(prefix + Key, out string? text))
            return null;
        try
        {
            return JsonNode.Parse(text, documentOptions: s_strict) as JsonObject
                ?? throw new CheckpointException($"The '{prefix}{Key}' of the file is not a JSON object.");
        }
        catch (JsonException e)
        {
            throw new CheckpointException($"The '{prefix}{Key}' of the file is not JSON: {e.Message}", e);
        }
    }

    /// <summary>Checks that a file's configuration is this one.</summary>
    /// <param name="file">The file.</param>
    /// <param name="prefix">What its names begin with.</param>
    /// <param name="own">The configuration of what it is loaded into.</param>
    /// <param name="allow">Settings that may differ, by their path or its last name, in any spelling that differs in case and
    /// underscores alone. <see cref="Key"/> allows a file without a configuration.</param>
    /// <param name="initial">Settings that decide initial values alone, which the file replaces.</param>
    /// <param name="known">Whether a name to be allowed has to be one of this configuration's.</param>
    /// <exception cref="ArgumentException">A setting to be allowed is not there.</exception>
    /// <exception cref="CheckpointException">Settings differ; the message has each with both values.</exception>
    public static void Check(SafetensorsFile file, string prefix, JsonNode own, IReadOnlyCollection<string>? allow,
        IReadOnlyCollection<string>? initial = null, bool known = true)
    {
        string[] allowed = [.. (allow ?? []).Select(Plain)];
        JsonObject? saved = Read(file, prefix);
        SortedDictionary<string, string> here = Flatten(own), there = saved is null ? [] : Flatten(saved);
        if (known)
            RequireKnown(allow ?? [], [.. here.Keys, .. there.Keys]);
        if (saved is null)
        {
            if (allowed.Contains(Key))
                return;
            throw new CheckpointException($"The file has no '{prefix}{Key}' in its metadata, so that it cannot be known whether it is of " +
                $"this configuration; '{Key}' among the changes to allow loads it all the same.");
        }

        string[] differences = [.. from name in here.Keys.Union(there.Keys, StringComparer.Ordinal)
                                   let mine = here.GetValueOrDefault(name, Absent)
                                   let its = there.GetValueOrDefault(name, Absent)
                                   where mine != its && initial?.Contains(name) != true && !IsAllowed(name, allowed)
                                   orderby name.Length
                                   select $"{name} is {Short(its)} in the file and {Short(mine)} here"];
        if (differences.Length == 0)
            return;
        string more = differences.Length > MostDifferences ? $"; and {differences.Length - MostDifferences} more" : "";
        throw new CheckpointException($"The checkpoint is of another configuration: {string.Join("; ",
            differences.Take(MostDifferences))}{more}.");
    }

    /// <summary>Every setting by its path, as text.</summary>
    public static SortedDictionary<string, string> Flatten(JsonNode? settings)
    {
        var values = new SortedDictionary<string, string>(StringComparer.Ordinal);
        Add("", settings);
        return values;

        void Add(string path, JsonNode? node)
        {
            switch (node)
            {
                case JsonObject fields:
                    foreach ((string name, JsonNode? value) in fields)
                        Add(path.Length == 0 ? name : $"{path}.{name}", value);
                    break;
                case JsonArray items:
                    values[path + ".Count"] = items.Count.ToString(CultureInfo.InvariantCulture);
                    for (int i = 0; i < items.Count; i++)
                        Add(string.Create(CultureInfo.InvariantCulture, $"{path}[{i}]"), items[i]);
                    break;
                // What is null is as if it were not there: a setting that is new, and not used, does not part a model from older files.
                case null:
                    break;
                default:
                    values[path] = node.ToJsonString();
                    break;
            }
        }
    }

    private static void RequireKnown(IEnumerable<string> allow, IReadOnlyCollection<string> names)
    {
        foreach (string name in allow)
        {
            if (Plain(name) != Key && !names.Any(n => IsAllowed(n, [Plain(name)])))
                throw new ArgumentException($"There is no setting '{name}' whose change could be allowed; there are " +
                    $"{string.Join(", ", names.Select(Last).Distinct().Order(StringComparer.Ordinal))}.", nameof(allow));
        }
    }

    private static bool IsAllowed(string name, string[] allowed) => allowed.Contains(Plain(name)) || allowed.Contains(Plain(Last(name)));

    private static string Last(string name) => name[(name.LastIndexOf('.') + 1)..];

    private static string Plain(string name) => name.Replace("_", "", StringComparison.Ordinal).ToLowerInvariant();

    private static string Short(string value) => value.Length <= LongestValue ? value : value[..LongestValue] + "…";
}
