using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using NestedLearning.CommandLine.Streaming;

namespace NestedLearning.CommandLine.Learn;

/// <summary>Everything that came out of a task, and what it came out on.</summary>
internal sealed record LearnReport(string Task, string Title, ulong Seed, int Steps, string Device, Machine Machine, double Seconds,
    IReadOnlyList<LearnTable> Tables)
{
    private static readonly JsonSerializerOptions s_json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
        WriteIndented = true,
        Converters = { new NumberConverter() },
    };

    public string ToJson() => JsonSerializer.Serialize(this, s_json);

    // What was a float32 is written with a float32's digits: a rate of 0.01 and not of 0.009999999776482582.
    private sealed class NumberConverter : JsonConverter<double>
    {
        public override double Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => reader.GetDouble();

        public override void Write(Utf8JsonWriter writer, double value, JsonSerializerOptions options)
        {
            if (!double.IsFinite(value))
                writer.WriteStringValue(value.ToString(CultureInfo.InvariantCulture));
            else if ((double)(float)value == value)
                writer.WriteNumberValue((float)value);
            else
                writer.WriteNumberValue(value);
        }
    }
}
