using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;
using NestedLearning.Models.Continual;

namespace NestedLearning.CommandLine.Continual;

/// <summary>A finished run, a line of the file of runs.</summary>
/// <param name="Identity">Everything else that decides the result: benchmark, order, sizes, texts, version.</param>
/// <param name="Strategy">The strategy.</param>
/// <param name="Value">The number that is searched for.</param>
/// <param name="Rate">The rate of one level that it was searched with; 0 where it is the rate itself.</param>
/// <param name="Seed">The seed.</param>
/// <param name="Results">What was measured.</param>
internal sealed record RunRecord(string Identity, string Strategy, double Value, double Rate, ulong Seed, PhaseResults Results)
{
    public static JsonSerializerOptions Json { get; } = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    /// <summary>Whether it is the result of such a run.</summary>
    public bool Is(string identity, string strategy, double value, double rate, ulong seed) =>
        (Identity, Strategy, Value, Rate, Seed) == (identity, strategy, value, rate, seed);
}
