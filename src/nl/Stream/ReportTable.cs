using System.Globalization;
using Spectre.Console;

namespace NestedLearning.CommandLine.Streaming;

/// <summary>The tables at the end of a run.</summary>
internal static class ReportTable
{
    public static void Write(IAnsiConsole console, StreamReport report)
    {
        bool inherited = report.Learners.Any(l => l.Phases.Any(p => p.Inherited));
        console.WriteLine();
        console.WriteLine("Bits per byte");
        Table losses = NewTable(console, ["learner", .. PhaseTitles(report), "whole stream", "parameters", "tokens/s", "seconds"]);
        foreach (LearnerReport learner in report.Learners)
        {
            AddRow(losses, [
                learner.Name, .. learner.Phases.Select(p => Bits(p.Loss) + (p.Inherited ? " *" : "")), Bits(learner.Loss),
                Count(learner.Parameters), Count(learner.TokensPerSecond), learner.Seconds.ToString("F1", CultureInfo.InvariantCulture)]);
        }

        console.Write(losses);

        console.WriteLine();
        console.WriteLine(
            $"Adaptation: bytes until the mean over {StreamMetrics.WindowLength:N0} bytes (a quarter of a short phase) is within " +
            $"{StreamMetrics.AdaptationMargin:P0} of the phase's final level (its last {StreamMetrics.FinalPart:P0})");
        Table adaptation = NewTable(console, ["learner", .. PhaseTitles(report).SelectMany(p => (string[])[$"{p}: bytes", "to level"])]);
        foreach (LearnerReport learner in report.Learners)
        {
            AddRow(adaptation, [
                learner.Name, .. learner.Phases.SelectMany(p => (string[])[
                    (p.AdaptationBytes is { } bytes ? Count(bytes) : "not reached") + (p.Inherited ? " *" : ""), Bits(p.FinalLevel)])]);
        }

        console.Write(adaptation);

        if (report.Phases.Count > 1)
        {
            console.WriteLine();
            console.WriteLine("Retention: bits per byte on held-out text of earlier phases, right after the phase and at the end of the " +
                "stream");
            Table retention = NewTable(console, ["learner", "held-out part of", "before", "after", "change"]);
            foreach (LearnerReport learner in report.Learners)
            {
                foreach (Retention row in learner.Retention)
                {
                    AddRow(retention, [
                        learner.Name, PhaseTitle(report.Phases[row.Phase], row.Phase), Bits(row.Before), Bits(row.After),
                        (row.After - row.Before).ToString("+0.000;-0.000;0.000", CultureInfo.InvariantCulture)]);
                }
            }

            console.Write(retention);
        }

        if (inherited)
            console.WriteLine("* Hope's own: the frozen learner is a copy of Hope from the end of the phase.");
    }

    private static IEnumerable<string> PhaseTitles(StreamReport report) => report.Phases.Select(PhaseTitle);

    private static string PhaseTitle(PhaseReport phase, int index) => $"{index + 1} {phase.Name}";

    private static Table NewTable(IAnsiConsole console, IReadOnlyList<string> columns)
    {
        Table table = Terminal.Table(console, [.. columns]);
        foreach (TableColumn column in table.Columns.Skip(1))
            column.Alignment = Justify.Right;
        // Without lines between columns, titles of several words need more room between them.
        if (!console.Profile.Capabilities.Ansi)
        {
            foreach (TableColumn column in table.Columns)
                column.Padding = new Padding(0, 0, 2, 0);
        }

        return table;
    }

    private static void AddRow(Table table, IReadOnlyList<string> cells) => table.AddRow(cells.Select(c => new Text(c)));

    private static string Bits(double value) => value.ToString("F3", CultureInfo.InvariantCulture);

    private static string Count(double value) => value.ToString("N0", CultureInfo.InvariantCulture);
}
