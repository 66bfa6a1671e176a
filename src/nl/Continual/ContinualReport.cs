using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using NestedLearning.CommandLine.Streaming;
using NestedLearning.Models.Continual;

namespace NestedLearning.CommandLine.Continual;

/// <summary>One strategy of a report.</summary>
internal sealed record StrategyReport(string Id, string Name, string Searched, double Chosen, bool AtEdge, IReadOnlyList<Trial> Trials,
    IReadOnlyList<RunReport> Runs);

/// <summary>One reported run.</summary>
internal sealed record RunReport(ulong Seed, PhaseResults Results);

/// <summary>Everything that is needed to read a result and to run it again.</summary>
internal sealed record ContinualReport
{
    private static readonly JsonSerializerOptions s_json = new(RunRecord.Json)
    {
        WriteIndented = true,
        DefaultIgnoreCondition = JsonIgnoreCondition.Never,
    };

    public string Schema { get; } = "nested-learning/continual/1";

    public required string Command { get; init; }

    public required Machine Machine { get; init; }

    public required string Device { get; init; }

    public required string TextsSha256 { get; init; }

    public required IReadOnlyList<string> Phases { get; init; }

    public required int PhaseBytes { get; init; }

    public required int HeldOutBytes { get; init; }

    public required IReadOnlyList<string> Domains { get; init; }

    public required IReadOnlyList<StrategyReport> Strategies { get; init; }

    public static ContinualReport Create(ContinualSettings settings, ContinualTexts texts, PhaseStream stream, Device device,
        IReadOnlyList<string> order, IReadOnlyList<StrategyOutcome> outcomes) => new()
        {
            Command = $"nl continual {settings.Benchmark} --seeds {settings.Seeds} --phase-bytes {settings.PhaseBytes} --trials " +
                $"{settings.Trials} --dim {settings.Dim} --slots {settings.Slots.Slots} --probe-period {settings.Slots.ProbePeriod} " +
                $"--order {string.Join(',', order)} --strategies " +
                string.Join(',', settings.Strategies.Select(s => s.Id)),
            Machine = Machine.Current(),
            Device = $"{device.Name} ({device.Description})",
            TextsSha256 = texts.Sha256,
            Phases = [.. stream.Phases.Select((_, i) => stream.NameOf(i))],
            PhaseBytes = settings.PhaseBytes,
            HeldOutBytes = settings.HeldOutBytes,
            Domains = [.. stream.Domains.Select(d => d.Name)],
            Strategies = [.. outcomes.Select(o => new StrategyReport(o.Strategy.Id, o.Strategy.Title, o.Strategy.Searched,
                o.Search?.Best ?? double.NaN, o.Search?.AtEdge ?? false, o.Search?.Trials ?? [],
                [.. o.Runs.Select(r => new RunReport(r.Seed, r.Results))]))],
        };

    public string ToJson() => JsonSerializer.Serialize(this, s_json);

    /// <summary>A line for each figure: strategy, seed, metric, phase, domain, value.</summary>
    public string ToCsv()
    {
        var csv = new StringBuilder("strategy,seed,metric,phase,domain,value\n");
        foreach (StrategyReport strategy in Strategies)
        {
            foreach (RunReport run in strategy.Runs)
            {
                PhaseResults r = run.Results;
                void Line(string metric, int? phase, int? domain, double value) => csv.Append(CultureInfo.InvariantCulture,
                    $"{strategy.Id},{run.Seed},{metric},{phase + 1},{(domain is { } d ? Domains[d] : "")},{value:R}\n");
                Line("parameters", null, null, r.Parameters);
                Line("state bytes", null, null, r.StateBytes);
                Line("seconds", null, null, r.Seconds);
                for (int i = 0; i < r.Domains.Count; i++)
                {
                    Line("prequential", i, r.Domains[i], r.Phases[i]);
                    Line("first 4 KiB", i, r.Domains[i], r.Beginnings[i]);
                    Line("last tenth", i, r.Domains[i], r.Ends[i]);
                    for (int d = 0; d < Domains.Count; d++)
                    {
                        Line("held out", i, d, r.HeldOut[i][d]);
                        Line("held out after reading", i, d, r.AfterReading[i][d]);
                    }
                }
            }
        }

        return csv.ToString();
    }
}
