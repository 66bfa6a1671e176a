using System.Globalization;
using NestedLearning.Models.Continual;
using Spectre.Console;

namespace NestedLearning.CommandLine.Continual;

/// <summary>The tables of <c>nl continual</c>, while it runs and at its end.</summary>
internal static class ContinualTable
{
    /// <summary>A line for each strategy: what a reader compares.</summary>
    public static Table Summary(IAnsiConsole console, IReadOnlyList<StrategyOutcome> outcomes)
    {
        Table table = New(console, "strategy", "chosen", "parameters", "state, bytes", "whole stream", "forgotten", "after 4 KiB",
            "held out at the end", "return, %", "bytes/s", "seeds");
        foreach (StrategyOutcome outcome in outcomes)
        {
            PhaseResults[] ended = Ended(outcome);
            string diverged = outcome.Runs.Count > ended.Length ? $" ({outcome.Runs.Count - ended.Length} diverged)" : "";
            string[] cells =
            [
                Mean(ended, r => r.Parameters, "N0"), Mean(ended, r => r.StateBytes, "N0"), Of(ended, r => r.WholeStream),
                Of(ended, r => r.Forgetting), Of(ended, r => r.ForgettingAfterReading), Of(ended, r => r.HeldOutAtEnd),
                ended.Length > 0 && ended[0].ReturnExcess is not null ? Of(ended, r => 100 * r.ReturnExcess!.Value, "F1") : "–",
                Mean(ended, BytesPerSecond, "N0"),
            ];
            Add(table, [outcome.Strategy.Title, Chosen(outcome), .. cells, ended.Length + diverged]);
        }

        return table;
    }

    /// <summary>Everything at the end.</summary>
    public static void Write(IAnsiConsole console, IReadOnlyList<StrategyOutcome> outcomes, PhaseStream stream)
    {
        int seeds = outcomes.Max(o => o.Runs.Count);
        string[] phases = [.. stream.Phases.Select((_, i) => stream.NameOf(i))];
        console.WriteLine();
        console.WriteLine($"Bits a byte; mean{(seeds > 1 ? " and 95 % interval" : "")} over seeds. Forgotten: the rise on held-out text " +
            "of a domain, until it returns or the stream ends, from a fresh state and after 4 KiB of reading. Return: the first 4 KiB of " +
            "a domain that comes back, above where it ended.");
        console.Write(Summary(console, outcomes));
        console.WriteLine();
        console.WriteLine("Bits a byte of each phase as predicted before learning from it, and of the first 4 KiB of those that return");
        int[] returning = [.. Enumerable.Range(0, phases.Length).Where(i => phases[i].EndsWith(" again", StringComparison.Ordinal))];
        Table whole = New(console, ["strategy", .. phases, .. returning.Select(i => $"{phases[i]}, first 4 KiB")]);
        foreach (StrategyOutcome outcome in outcomes)
            Add(whole, [outcome.Strategy.Title, .. phases.Select((_, i) => Of(Ended(outcome), r => r.Phases[i])),
                .. returning.Select(i => Of(Ended(outcome), r => r.Beginnings[i]))]);
        console.Write(whole);
        console.WriteLine();
        console.WriteLine("Bits a byte on held-out text of each domain at the end of the stream (and right after its first phase)");
        Table heldOut = New(console, ["strategy", .. stream.Domains.Select(d => d.Name)]);
        foreach (StrategyOutcome outcome in outcomes)
        {
            PhaseResults[] ended = Ended(outcome);
            Add(heldOut, [outcome.Strategy.Title, .. stream.Domains.Select((_, d) =>
            {
                int first = stream.Phases.Select((p, i) => (p, i)).First(p => p.p.Domain == d).i;
                return $"{Of(ended, r => r.HeldOut[^1][d])} ({Mean(ended, r => r.HeldOut[first][d], "F3")})";
            })]);
        }

        console.Write(heldOut);
    }

    private static PhaseResults[] Ended(StrategyOutcome outcome) =>
        [.. outcome.Runs.Select(r => r.Results).Where(r => r.Diverged is null)];

    private static double BytesPerSecond(PhaseResults results) => results.Seconds > 0 ? results.Bytes / results.Seconds : 0;

    private static string Chosen(StrategyOutcome outcome) => outcome.Search is { } search
        ? $"{outcome.Strategy.Searched} {search.Best.ToString("G3", CultureInfo.InvariantCulture)}{(search.AtEdge ? " (edge)" : "")}" : "…";

    private static string Of(PhaseResults[] runs, Func<PhaseResults, double> figure, string format = "F3") =>
        runs.Length == 0 ? "–" : Interval.Of(runs.Select(figure)).ToString(format);

    private static string Mean(PhaseResults[] runs, Func<PhaseResults, double> figure, string format) =>
        runs.Length == 0 ? "–" : runs.Average(figure).ToString(format, CultureInfo.InvariantCulture);

    private static Table New(IAnsiConsole console, params string[] columns)
    {
        Table table = Terminal.Table(console, columns);
        foreach (TableColumn column in table.Columns)
        {
            if (column != table.Columns[0])
                column.Alignment = Justify.Right;
            if (!console.Profile.Capabilities.Ansi)
                column.Padding = new Padding(0, 0, 2, 0);
        }

        return table;
    }

    private static void Add(Table table, IEnumerable<string> cells) => table.AddRow(cells.Select(c => new Text(c)));
}
