using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace NestedLearning.CommandLine.Streaming;

/// <summary>The text of a phase.</summary>
internal sealed record PhaseReport(string Name, string Source, long Start, int Bytes, int HeldOutBytes, string Sha256);

/// <summary>What a learner did in a phase. Levels are bits a byte.</summary>
/// <param name="Loss">The mean over the phase.</param>
/// <param name="FinalLevel">The mean over its last part.</param>
/// <param name="AdaptationBytes">See <see cref="StreamMetrics.Adaptation"/>.</param>
/// <param name="Inherited">Whether another learner read the phase for this one.</param>
internal sealed record PhaseResult(double Loss, double FinalLevel, int? AdaptationBytes, bool Inherited);

/// <summary>Bits a byte on the held-out part of a phase, right after that phase and after the last.</summary>
internal sealed record Retention(int Phase, double Before, double After);

/// <summary>The commits of a level, several together where there are many.</summary>
/// <param name="Name">The level.</param>
/// <param name="Commits">Their number.</param>
/// <param name="CommitsPerPoint">How many of them one point stands for.</param>
/// <param name="Position">Bytes of the stream at the last commit of each point.</param>
/// <param name="Change">The mean ‖θ_new − θ_old‖ of a point's commits.</param>
/// <param name="Norm">The mean ‖θ_old‖ of a point's commits.</param>
internal sealed record LevelReport(string Name, int Commits, int CommitsPerPoint, long[] Position, double[] Change, double[] Norm)
{
    private const int MostPoints = 1024;

    public static LevelReport Create(string name, IReadOnlyList<LevelCommit> commits)
    {
        int perPoint = Math.Max(1, (commits.Count + MostPoints - 1) / MostPoints);
        LevelCommit[][] points = [.. commits.Chunk(perPoint)];
        return new LevelReport(
            name,
            commits.Count,
            perPoint,
            Array.ConvertAll(points, p => p[^1].Step),
            Array.ConvertAll(points, p => p.Average(c => c.Change)),
            Array.ConvertAll(points, p => p.Average(c => c.Norm)));
    }
}

/// <summary>Everything measured of a learner.</summary>
internal sealed record LearnerReport
{
    public required string Id { get; init; }

    public required string Name { get; init; }

    public required long Parameters { get; init; }

    public required double Seconds { get; init; }

    public required double TokensPerSecond { get; init; }

    public required double Loss { get; init; }

    public required IReadOnlyList<PhaseResult> Phases { get; init; }

    public required IReadOnlyList<Retention> Retention { get; init; }

    /// <summary>Bits a byte on the held-out part of phase j after phase i, at [i][j] for j ≤ i.</summary>
    public required IReadOnlyList<double[]> HeldOutLoss { get; init; }

    public required IReadOnlyList<LevelReport> Levels { get; init; }

    /// <summary>Bits a byte over each block of the stream; blocks begin anew with each phase.</summary>
    public required double[] LossOfBlock { get; init; }
}

/// <summary>How the numbers of a report are meant.</summary>
internal sealed record Definitions(string Unit, int BlockBytes, int WindowBytes, double FinalPart, double AdaptationMargin);

/// <summary>A finished run, ready to be shown, drawn and written as JSON.</summary>
internal sealed record StreamReport
{
    private static readonly JsonSerializerOptions s_json = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.CamelCase,
        DefaultIgnoreCondition = JsonIgnoreCondition.Never,
        Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping,
        Converters =
        {
            new ShortNumber(),
            new Series<double>(v => SevenDigits(v).ToString("R", CultureInfo.InvariantCulture)),
            new Series<long>(v => v.ToString(CultureInfo.InvariantCulture)),
        },
    };

    /// <summary>The kind of file and its version.</summary>
    public string Schema { get; } = "nested-learning/stream/1";

    public required Machine Machine { get; init; }

    public required string Device { get; init; }

    public required string DeviceDescription { get; init; }

    public required ulong Seed { get; init; }

    public required JsonElement Configuration { get; init; }

    public required double WallSeconds { get; init; }

    public Definitions Definitions { get; } = new(
        "bits per byte", PhasePlan.BlockLength, StreamMetrics.WindowLength, StreamMetrics.FinalPart, StreamMetrics.AdaptationMargin);

    public required IReadOnlyList<PhaseReport> Phases { get; init; }

    public required IReadOnlyList<LearnerReport> Learners { get; init; }

    /// <param name="run">A finished run.</param>
    /// <param name="factory">What made its learners.</param>
    /// <param name="wallSeconds">From the first byte to the last, less the time between an interruption and going on.</param>
    public static StreamReport Create(StreamRun run, ILearnerFactory factory, double wallSeconds) => new()
    {
        Machine = Machine.Current(),
        Device = factory.DeviceName,
        DeviceDescription = factory.DeviceDescription,
        Seed = factory.Seed,
        Configuration = JsonSerializer.Deserialize<JsonElement>(factory.Configuration),
        WallSeconds = wallSeconds,
        Phases = [.. run.Plan.Phases.Select(p => new PhaseReport(p.Name, p.Source, p.Start, p.Text.Length, p.HeldOut.Length, p.Sha256))],
        Learners = [.. run.Tracks.Select(t => Create(t, run.Plan))],
    };

    public void Save(string path) => SafeFile.WriteText(path, ToJson() + "\n");

    public string ToJson() => JsonSerializer.Serialize(this, s_json);

    private static LearnerReport Create(LearnerTrack track, PhasePlan plan)
    {
        int last = plan.Phases.Count - 1;
        var lossOfBlock = new double[plan.Blocks];
        foreach (Phase phase in plan.Phases)
        {
            for (int block = 0; block < phase.Blocks; block++)
                lossOfBlock[phase.FirstBlock + block] =
                    StreamMetrics.Bits(track.Losses[phase.FirstBlock + block] / phase.BytesOfBlock(block));
        }

        return new LearnerReport
        {
            Id = track.Kind.Id(),
            Name = track.Kind.Title(),
            Parameters = track.Learner.ParameterCount,
            Seconds = track.Seconds,
            TokensPerSecond = track.Seconds > 0 ? (plan.Length - track.Inherited) / track.Seconds : 0,
            Loss = StreamMetrics.Bits(track.Losses.Sum() / plan.Length),
            Phases =
            [
                .. plan.Phases.Select(p => new PhaseResult(
                    StreamMetrics.PhaseLoss(track.Losses, p),
                    StreamMetrics.FinalLevel(track.Losses, p),
                    StreamMetrics.Adaptation(track.Losses, p),
                    p.End <= track.Inherited)),
            ],
            Retention =
            [
                .. Enumerable.Range(0, last).Select(p => new Retention(
                    p, StreamMetrics.Bits(track.HeldOutLoss(p, p)), StreamMetrics.Bits(track.HeldOutLoss(last, p)))),
            ],
            HeldOutLoss =
            [
                .. plan.Phases.Select(after =>
                    Enumerable.Range(0, after.Index + 1).Select(of => StreamMetrics.Bits(track.HeldOutLoss(after.Index, of))).ToArray()),
            ],
            Levels =
            [
                .. track.Learner.LevelNames.Select((name, level) =>
                    LevelReport.Create(name, [.. track.Commits.Where(c => c.Level == level)])),
            ],
            LossOfBlock = lossOfBlock,
        };
    }

    private static double SevenDigits(double value) =>
        double.Parse(value.ToString("G7", CultureInfo.InvariantCulture), CultureInfo.InvariantCulture);

    // Losses are sums of float32 numbers; more digits would only make the file longer.
    private sealed class ShortNumber : JsonConverter<double>
    {
        public override double Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) => reader.GetDouble();

        public override void Write(Utf8JsonWriter writer, double value, JsonSerializerOptions options) =>
            writer.WriteNumberValue(SevenDigits(value));
    }

    // A series on one line.
    private sealed class Series<T>(Func<T, string> format) : JsonConverter<T[]>
    {
        public override T[]? Read(ref Utf8JsonReader reader, Type typeToConvert, JsonSerializerOptions options) =>
            throw new NotSupportedException();

        public override void Write(Utf8JsonWriter writer, T[] value, JsonSerializerOptions options) =>
            writer.WriteRawValue($"[{string.Join(',', value.Select(format))}]");
    }
}
