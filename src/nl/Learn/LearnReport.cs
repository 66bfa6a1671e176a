using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using NestedLearning.CommandLine.Streaming;

namespace NestedLearning.CommandLine.Learn;

/// <summary>Everything that came out of a task, and what it came out on.</summary>
internal sealed record LearnReport(string Task, string Title, ulong Seed, int Steps, string Device, Machine Machine, double Seconds, IReadOnlyList<LearnTable> Tables)
{
    private static readonly JsonSerializerOptions s_json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        WriteIndented = true,
    };

    public string ToJson() => JsonSerializer.Serialize(this, s_json);
}
