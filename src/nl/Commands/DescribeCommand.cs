using System.CommandLine;
using System.Globalization;
using System.Text.Json;
using NestedLearning.CommandLine.Describe;
using NestedLearning.Models;
using Spectre.Console;

namespace NestedLearning.CommandLine.Commands;

/// <summary><c>nl describe [MODEL]</c>: a model as its nest of levels, every memory on one axis from fast to slow.</summary>
internal static class DescribeCommand
{
    public static Command Create()
    {
        var model = new Argument<string>("model")
        {
            Description = $"One of {string.Join(", ", ModelConfiguration.Presets.Select(p => p.Name))}.",
            DefaultValueFactory = _ => "hope",
        };
        var config = new Option<string?>("--config")
        {
            Description = "A JSON file with fields that differ from the model's, such as " +
            "{\"dim\": 256}.", HelpName = "file"
        };
        var context = new Option<long?>("--context")
        {
            Description = "Tokens of a context after which fast memories are measured. " +
            "Default: just before it ends.", HelpName = "tokens"
        };
        var batch = new Option<int>("--batch")
        {
            Description = "Sequences whose fast memories are measured.", HelpName = "count", DefaultValueFactory = _ => 1,
        };
        var json = new Option<bool>("--json") { Description = "The description and the configuration as JSON." };
        var command = new Command("describe", "Show a model as its nest of levels: each memory, what it reads, its rule, frequency and " +
            "size.")
        {
            model, config, context, batch, json,
        };
        command.SetAction(parse =>
        {
            ModelConfiguration configuration = ConfigurationFile.Load(parse.GetRequiredValue(model), parse.GetValue(config));
            // Nothing is computed, so that any backend would do.
            using Device device = Device.Open("managed");
            using var built = new SequenceModel(device, configuration);
            ModelDescription description = built.Describe(parse.GetValue(context), parse.GetValue(batch));
            if (parse.GetValue(json))
                parse.InvocationConfiguration.Output.WriteLine(
                    JsonSerializer.Serialize(new { description, configuration }, ConfigurationFile.Json));
            else
                Print(Terminal.Output(parse), description);
            return ExitStatus.Success;
        });
        return command;
    }

    private static void Print(IAnsiConsole console, ModelDescription description)
    {
        Table table = Terminal.Table(console, "period", "frequency", "memory", "what it is", "context flow", "update rule", "parameters",
            "bytes");
        foreach (MemoryDescription m in description.Memories)
            Row(Number(m.Period), Number(m.Frequency), m.Name, m.Memory, m.ContextFlow, m.Rule,
                m.Parameters == 0 ? "" : Number(m.Parameters), Number(m.Bytes));
        console.Write(table);
        string sequences = description.Batch == 1 ? "one sequence" : $"{description.Batch} sequences";
        console.WriteLine($"{description.Mixer}: {Number(description.Parameters)} parameters, {Number(description.Bytes)} bytes with " +
            $"the state of {sequences} {Number(description.Context)} tokens into a context.");
        console.WriteLine(description.ContextLength == 0
            ? "Fast memories never return to their start."
            : $"Fast memories return to their start every {Number(description.ContextLength)} tokens.");
        console.WriteLine("Periods are in steps of the clock, in a stream tokens; a memory's frequency is relative to the slowest.");

        void Row(params string[] cells) => table.AddRow([.. cells.Select(c => new Text(c))]);
        static string Number(double value) => value.ToString("#,0.##", CultureInfo.InvariantCulture);
    }
}
