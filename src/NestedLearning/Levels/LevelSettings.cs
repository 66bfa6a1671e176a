using System.Globalization;
using System.Text.Json.Nodes;

namespace NestedLearning;

/// <summary>What decides how levels learn, other than their parameters' values, as JSON.</summary>
internal static class LevelSettings
{
    /// <summary>The settings of levels.</summary>
    public static JsonObject Of(IEnumerable<Level> levels) => new() { ["Levels"] = new JsonArray([.. levels.Select(Of)]) };

    private static JsonObject Of(Level level) => new()
    {
        [nameof(Level.Name)] = level.Name,
        [nameof(Level.Chunk)] = level.Chunk,
        [nameof(Level.LearningRate)] = Number(level.LearningRate),
        [nameof(Level.WarmupCommits)] = level.WarmupCommits,
        [nameof(Level.Reduction)] = level.Reduction.ToString(),
        [nameof(Level.ClipNorm)] = Number(level.ClipNorm),
        [nameof(Level.Optimizer)] = OptimizerJson.Write(level.Optimizer),
        [nameof(Level.Start)] = level.Start is not { } start ? null : new JsonObject
        {
            [nameof(LevelStart.Chunks)] = start.Chunks,
            [nameof(LevelStart.ResetsOptimizer) + "s"] = start.ResetsOptimizer,
            [nameof(LevelStart.Pairs)] = string.Join(", ", start.Pairs.Select(p => $"{p.Parameter.Name} from {p.Start.Name}")),
        },
        // Their names are those of the file's tensors; which of them a weight decay reaches is not.
        [nameof(Parameter.Decays)] = string.Join(", ", level.Parameters.Where(p => p.Decays).Select(p => p.Name)),
    };

    // JSON has no infinity. A float32 is written with its own digits.
    private static JsonNode Number(double value)
    {
        if (!double.IsFinite(value))
            return value.ToString(CultureInfo.InvariantCulture);
        float single = (float)value;
        return single == value ? JsonValue.Create(single) : JsonValue.Create(value);
    }
}
