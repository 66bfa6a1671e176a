using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using NestedLearning.CommandLine.Learn;
using NestedLearning.CommandLine.Streaming;
using Spectre.Console;

namespace NestedLearning.CommandLine.Commands;

/// <summary><c>nl learn TASK</c>: learners side by side on a small task whose data comes from a seed.</summary>
internal static class LearnCommand
{
    public static Command Create()
    {
        var name = new Argument<string>("task")
        {
            Description = string.Join("; ", LearnTask.All.Select(t => $"{t.Name}: {t.Title}")) + ".",
        };
        var seed = new Option<ulong>("--seed")
        {
            Description = "Of initial weights and data.", HelpName = "number", DefaultValueFactory = _ => 1,
        };
        var steps = new Option<int?>("--steps")
        {
            Description = "Outer steps (bytes, for streams). Default: the task's own, a few minutes on two cores.", HelpName = "count"
        };
        var json = new Option<bool>("--json") { Description = "The result as JSON." };
        var quiet = new Option<bool>("--quiet", "-q") { Description = "No progress, only the result." };
        var device = new DeviceOptions();
        var command = new Command("learn", "Train learners on a small task and show what each of them learned.")
        {
            name, seed, steps, json, quiet,
        };
        device.AddTo(command);
        command.SetAction(parse =>
        {
            LearnTask task = LearnTask.Find(parse.GetRequiredValue(name));
            int? asked = parse.GetValue(steps);
            if (asked < 1)
                throw new CaseException($"--steps is {asked}, expected at least 1.");
            using Device opened = device.Open(parse);
            var run = new LearnRun(opened, parse.GetRequiredValue(seed), asked ?? task.DefaultSteps,
                parse.GetValue(quiet) ? null : parse.InvocationConfiguration.Error);
            var watch = Stopwatch.StartNew();
            IReadOnlyList<LearnTable> tables = task.Run(run);
            var report = new LearnReport(
                task.Name, task.Title, run.Seed, run.Steps, $"{opened.Name} ({opened.Description})", Machine.Current(),
                watch.Elapsed.TotalSeconds, tables);
            if (parse.GetValue(json))
                parse.InvocationConfiguration.Output.WriteLine(report.ToJson());
            else
                Write(report, Terminal.Output(parse));
            return ExitStatus.Success;
        });
        return command;
    }

    private static void Write(LearnReport report, IAnsiConsole console)
    {
        console.WriteLine($"{report.Task}: {report.Title}; seed {report.Seed}, " +
            $"{report.Steps.ToString("N0", CultureInfo.InvariantCulture)} steps, {report.Device} on {report.Machine.Processor}");
        foreach (LearnTable table in report.Tables)
            table.Write(console);
        console.WriteLine();
        console.WriteLine($"{report.Seconds.ToString("F0", CultureInfo.InvariantCulture)} s");
    }
}
