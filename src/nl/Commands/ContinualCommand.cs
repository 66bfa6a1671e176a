using System.CommandLine;
using NestedLearning.CommandLine.Continual;
using NestedLearning.CommandLine.Streaming;
using NestedLearning.Models.Continual;
using Spectre.Console;

namespace NestedLearning.CommandLine.Commands;

/// <summary><c>nl continual BENCHMARK</c>: strategies against forgetting side by side on a stream whose domains come and go.</summary>
internal static class ContinualCommand
{
    private static readonly TimeSpan s_interval = TimeSpan.FromSeconds(1);

    public static Command Create()
    {
        var benchmark = new Argument<string>("benchmark")
        {
            Description = string.Join("; ", ContinualTexts.Benchmarks.Select(b => $"{b.Name}: {b.Title}")) + ".",
        };
        var seeds = new Option<int>("--seeds")
        {
            Description = "How many seeds are reported, of weights and of where texts begin: 1, 2, …",
            HelpName = "count",
            DefaultValueFactory = _ => 3,
        };
        var bytes = new Option<int>("--phase-bytes")
        {
            Description = "The bytes of a phase.", HelpName = "count", DefaultValueFactory = _ => 131_072,
        };
        var order = new Option<string?>("--order")
        {
            Description = "The domain of each phase, such as en,de,fr,ja,en or prose,code,prose.", HelpName = "names",
        };
        var strategies = new Option<string>("--strategies")
        {
            Description = "Which take part.",
            HelpName = "names",
            DefaultValueFactory = _ => string.Join(',', Strategy.All.Select(s => s.Id)),
        };
        var trials = new Option<int>("--trials")
        {
            Description = "Trials of each strategy's search for its rate or strength, on a seed of its own.",
            HelpName = "count",
            DefaultValueFactory = _ => 5,
        };
        var dim = new Option<int>("--dim")
        {
            Description = "The width of models.", HelpName = "count", DefaultValueFactory = _ => 128,
        };
        var slots = new Option<int>("--slots")
        {
            Description = "Slots, for strategies that have them.",
            HelpName = "count",
            DefaultValueFactory = _ => Strategy.DefaultSlots.Slots,
        };
        var probe = new Option<int>("--probe-period")
        {
            Description = "Bytes from one probe of the slots that sleep to the next; 0: they never sleep.",
            HelpName = "bytes",
            DefaultValueFactory = _ => Strategy.DefaultSlots.ProbePeriod,
        };
        var data = new Option<string?>("--data")
        {
            Description = $"Folder of the texts of 'languages'. Default: {ContinualTexts.DataVariable}, or data or shared/data in a " +
                "folder above.",
            HelpName = "folder",
        };
        var output = new Option<string?>("--out")
        {
            Description = "The results as JSON; runs as JSON lines beside it. Default: nl-continual/BENCHMARK.json.", HelpName = "file",
        };
        var csv = new Option<string?>("--csv") { Description = "The results as CSV, a line a figure.", HelpName = "file" };
        var resume = new Option<bool>("--resume") { Description = "Go on from the runs that are kept, with the same settings." };
        var quiet = new Option<bool>("--quiet", "-q") { Description = "No progress, only the result." };
        var device = new DeviceOptions();
        var command = new Command("continual", "Read streams whose domains come and go, with several strategies against forgetting.")
        {
            benchmark, seeds, bytes, order, strategies, trials, dim, slots, probe, data, output, csv, resume, quiet,
        };
        device.AddTo(command);
        command.SetAction(parse =>
        {
            string name = parse.GetRequiredValue(benchmark);
            var settings = new ContinualSettings
            {
                Benchmark = name,
                Order = parse.GetValue(order) is { } names ? Split(names) : null,
                Seeds = parse.GetValue(seeds),
                PhaseBytes = parse.GetValue(bytes),
                Trials = parse.GetValue(trials),
                Dim = parse.GetValue(dim),
                Slots = Strategy.DefaultSlots with { Slots = parse.GetValue(slots), ProbePeriod = parse.GetValue(probe) },
                Strategies = [.. Split(parse.GetRequiredValue(strategies)).Select(Strategy.Parse)],
                Data = parse.GetValue(data),
                Out = parse.GetValue(output) ?? Path.Combine("nl-continual", $"{name}.json"),
                Csv = parse.GetValue(csv),
                Resume = parse.GetValue(resume),
                Quiet = parse.GetValue(quiet),
            };
            settings.Validate();
            ContinualTexts texts = ContinualTexts.Read(settings);
            using var interruption = new Interruption();
            using Device opened = device.Open(parse);
            return Run(settings, texts, opened, Terminal.Output(parse), parse.InvocationConfiguration.Error, interruption.Token);
        });
        return command;
    }

    /// <summary>Runs with any texts.</summary>
    /// <returns>The exit status.</returns>
    internal static int Run(ContinualSettings settings, ContinualTexts texts, Device device, IAnsiConsole console, TextWriter error,
        CancellationToken stop)
    {
        IReadOnlyList<string> order = settings.Order ?? texts.Order;
        PhaseStream stream = PhaseStream.Create(texts.Domains, order, settings.PhaseBytes, settings.HeldOutBytes, seed: 1);
        if (!settings.Resume && File.Exists(settings.Lines))
            error.WriteLine($"nl: '{settings.Lines}' of an earlier run is replaced; --resume would go on from it");
        RunFile file = RunFile.Open(settings.Lines, settings.Resume);
        var run = new ContinualRun(device, settings, texts, file);
        if (settings.Resume)
            console.WriteLine($"going on with {run.Finished} of {run.Runs} runs from '{settings.Lines}'");
        try
        {
            Follow(run, settings, console, error, stop);
        }
        catch (OperationCanceledException)
        {
            console.WriteLine($"Interrupted after {run.Finished} of {run.Runs} runs. The same command with --resume goes on from " +
                $"'{settings.Lines}'.");
            return ExitStatus.Interrupted;
        }

        ContinualTable.Write(console, run.Outcomes, stream);
        ContinualReport report = ContinualReport.Create(settings, texts, stream, device, order, run.Outcomes);
        Write(settings.Out, report.ToJson() + "\n");
        if (settings.Csv is { } csv)
            Write(csv, report.ToCsv());
        console.WriteLine();
        console.WriteLine($"written: {settings.Out}, {settings.Lines}{(settings.Csv is null ? "" : $", {settings.Csv}")}");
        return ExitStatus.Success;
    }

    private static void Follow(ContinualRun run, ContinualSettings settings, IAnsiConsole console, TextWriter error, CancellationToken stop)
    {
        bool live = !settings.Quiet && console.Profile.Capabilities.Interactive && console.Profile.Capabilities.Ansi;
        var saying = new Lock();
        Task work = Task.Run(() => run.Run(Say, stop), CancellationToken.None);
        if (live)
        {
            console.Live(Table()).AutoClear(true).Start(context =>
            {
                while (Task.WaitAny([work], s_interval) != 0)
                    context.UpdateTarget(Table());
            });
        }

        work.GetAwaiter().GetResult();

        Table Table() => ContinualTable.Summary(console, run.Outcomes).Title($"{run.Done:F1} of {run.Runs} runs");

        void Say(string line)
        {
            if (live || settings.Quiet)
                return;
            lock (saying)
                error.WriteLine(line);
        }
    }

    private static void Write(string path, string text)
    {
        try
        {
            SafeFile.WriteText(path, text);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StreamException($"'{path}' cannot be written: {e.Message}", e);
        }
    }

    private static string[] Split(string names) =>
        names.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries);
}
