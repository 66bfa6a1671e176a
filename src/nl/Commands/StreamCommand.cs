using System.CommandLine;
using System.Globalization;
using NestedLearning.CommandLine.Streaming;
using Spectre.Console;

namespace NestedLearning.CommandLine.Commands;

/// <summary>
/// <c>nl stream [FILES or FOLDERS…]</c>: learners side by side over phases of text, each byte predicted, scored and
/// then learned from.
/// </summary>
internal static class StreamCommand
{
    private const string ReportName = "report.json";

    public static Command Create()
    {
        var paths = new Argument<string[]>("texts")
        {
            Description = "A text file (also by gzip) or a folder for each phase. Default: English prose from the SDK's documentation, " +
                "this repository's source code, more prose.",
            Arity = ArgumentArity.ZeroOrMore,
        };
        var bytes = new Option<int>("--bytes")
        {
            Description = "The most bytes of a phase.",
            HelpName = "count",
            DefaultValueFactory = _ => StreamSettings.DefaultBytes,
        };
        var learners = new Option<string>("--learners")
        {
            Description = "Which take part: hope, one-level, slots (one level whose weights are kept in " +
                "slots of a slow level), frozen (Hope that stops learning after the first phase).",
            HelpName = "names",
            DefaultValueFactory = _ => string.Join(',', LearnerKinds.All.Select(k => k.Id())),
        };
        var seed = new Option<ulong>("--seed")
        {
            Description = "Of the initial weights.", HelpName = "number", DefaultValueFactory = _ => 1,
        };
        var folder = new Option<string>("--out")
        {
            Description = "Folder for report.json, the chart and the checkpoint.", HelpName = "folder", DefaultValueFactory = _ =>
            "nl-stream",
        };
        var checkpoint = new Option<string?>("--checkpoint")
        {
            Description = "The checkpoint, if not stream.safetensors in the folder " +
            "of --out.", HelpName = "file"
        };
        var every = new Option<long>("--checkpoint-every")
        {
            Description = "Save also each time so many bytes of the stream are read. 0: only at the end and when interrupted.",
            HelpName = "bytes",
        };
        var resume = new Option<bool>("--resume") { Description = "Go on from the checkpoint, with the same texts and settings." };
        var quiet = new Option<bool>("--quiet", "-q") { Description = "No progress, only the result." };
        var device = new DeviceOptions();
        var command = new Command("stream", "Predict, score and learn from a stream of text, byte by byte, with several learners side " +
            "by side.")
        {
            paths, bytes, learners, seed, folder, checkpoint, every, resume, quiet,
        };
        device.AddTo(command);
        command.SetAction(parse =>
        {
            string output = parse.GetRequiredValue(folder);
            var settings = new StreamSettings
            {
                Paths = parse.GetValue(paths) ?? [],
                Bytes = parse.GetRequiredValue(bytes),
                Learners = [.. parse.GetRequiredValue(learners)
                .Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries).Select(LearnerKinds.Parse)],
                Seed = parse.GetRequiredValue(seed),
                Out = output,
                Checkpoint = parse.GetValue(checkpoint) ?? Path.Combine(output, "stream.safetensors"),
                CheckpointEvery = parse.GetValue(every),
                Resume = parse.GetValue(resume),
                Quiet = parse.GetValue(quiet),
            };
            settings.Validate();
            using var interruption = new Interruption();
            using var factory = new LearnerFactory(device.Open(parse), settings.Seed, settings.Learners.Count);
            return Run(settings, factory, Terminal.Output(parse), parse.InvocationConfiguration.Error, interruption.Token);
        });
        return command;
    }

    /// <summary>Runs with any learners.</summary>
    /// <returns>The exit status.</returns>
    internal static int Run(StreamSettings settings, ILearnerFactory factory, IAnsiConsole console, TextWriter error,
        CancellationToken stop)
    {
        RequireOutputs(settings);
        int bytesOfText = PhasePlan.TextFor(settings.Bytes);
        if (ReadTexts(settings, bytesOfText, error, stop) is not { } texts)
        {
            console.WriteLine("Interrupted before the first byte.");
            return ExitStatus.Interrupted;
        }

        PhasePlan plan = PhasePlan.Create(texts, settings.Bytes);
        IReadOnlyList<LearnerKind> learners = settings.Learners;
        if (plan.Phases.Count == 1 && learners.Count > 1 && learners.Contains(LearnerKind.Frozen))
        {
            learners = [.. learners.Where(k => k != LearnerKind.Frozen)];
            console.WriteLine("With one phase there is nothing after it for the frozen learner; it is left out.");
        }

        CreateFolder(settings.Out);
        if (!settings.Quiet)
            Describe(plan, settings, factory, console);
        using var run = new StreamRun(plan, factory, learners, settings.Checkpoint, settings.CheckpointEvery);
        if (settings.Resume)
        {
            run.Resume();
            console.WriteLine($"going on from '{settings.Checkpoint}' at {Positions(run)}");
        }
        else
        {
            if (File.Exists(settings.Checkpoint))
                console.WriteLine($"'{settings.Checkpoint}' of an earlier run will be replaced; --resume would go on from it");
            run.Begin();
        }

        try
        {
            if (!Follow(run, settings, console, stop))
            {
                console.WriteLine($"Interrupted at {Positions(run)}. The same command with --resume goes on from '{settings.Checkpoint}'.");
                return ExitStatus.Interrupted;
            }
        }
        catch (DivergenceException e)
        {
            error.WriteLine($"nl: {e.Message} {Kept(settings)}");
            return ExitStatus.Failed;
        }

        Finish(run, factory, settings, console, error);
        return ExitStatus.Success;
    }

    // On a thread of its own: opening a pipe waits for its other end, and no signal ends that.
    private static IReadOnlyList<PhaseText>? ReadTexts(StreamSettings settings, int bytes, TextWriter error, CancellationToken stop)
    {
        var read = Task.Run(() => settings.Paths.Count == 0 ? TextSources.Default(bytes)
            : TextSources.FromPaths(settings.Paths, bytes, note => error.WriteLine($"nl: {note}")), CancellationToken.None);
        try
        {
            read.Wait(stop);
        }
        catch (OperationCanceledException)
        {
            return null;
        }
        catch (AggregateException)
        {
            // Thrown below as it is.
        }

        return read.GetAwaiter().GetResult();
    }

    private static void Describe(PhasePlan plan, StreamSettings settings, ILearnerFactory factory, IAnsiConsole console)
    {
        foreach (Phase phase in plan.Phases)
        {
            string less = phase.Text.Length < settings.Bytes ? $" (there is no more than that, asked for were {settings.Bytes:N0})" : "";
            console.WriteLine($"phase {phase.Index + 1}, {phase.Name}: {phase.Text.Length:N0} bytes{less}, {phase.HeldOut.Length:N0} " +
                $"held out, from {phase.Source}");
        }

        console.WriteLine($"device {factory.DeviceName}: {factory.DeviceDescription}");
    }

    private static bool Follow(StreamRun run, StreamSettings settings, IAnsiConsole console, CancellationToken stop)
    {
        Task<bool> work = Task.Run(() => run.Run(stop), CancellationToken.None);
        if (!settings.Quiet)
            new StreamProgress(console, run).Follow(work);
        return work.GetAwaiter().GetResult();
    }

    private static void Finish(StreamRun run, ILearnerFactory factory, StreamSettings settings, IAnsiConsole console, TextWriter error)
    {
        StreamReport report = StreamReport.Create(run, factory, run.Seconds);
        ReportTable.Write(console, report);
        string json = Path.Combine(settings.Out, ReportName);
        var files = new List<string> { json, settings.Checkpoint };
        try
        {
            report.Save(json);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StreamException($"The report '{json}' cannot be written: {e.Message}", e);
        }

        try
        {
            files.Insert(1, LossChart.Save(run, report, settings.Out));
        }
        catch (Exception e) when (
            e is DllNotFoundException or TypeInitializationException or IOException or UnauthorizedAccessException
                or InvalidOperationException)
        {
            // The result is there without its picture.
            error.WriteLine($"nl: the chart cannot be drawn: {Program.Describe(e.InnerException ?? e)}");
        }

        console.WriteLine();
        console.WriteLine($"{run.Seconds.ToString("F0", CultureInfo.InvariantCulture)} s; written: {string.Join(", ", files)}");
    }

    private static string Positions(StreamRun run) =>
        string.Join(", ", run.Tracks.Select(t => $"byte {t.Position:N0} ({t.Kind.Title()})"));

    private static string Kept(StreamSettings settings) =>
        File.Exists(settings.Checkpoint) ? $"The checkpoint '{settings.Checkpoint}' is as it was." : "There is no checkpoint.";

    // What would fail, or destroy a text, only after hours is refused before the first byte.
    private static void RequireOutputs(StreamSettings settings)
    {
        string[] results = [.. LossChart.Names.Append(ReportName).Select(name => Path.Combine(settings.Out, name))];
        try
        {
            if (Array.Find(results, r => SafeFile.AreSame(r, settings.Checkpoint)) is { } result)
                throw new StreamException($"The checkpoint '{settings.Checkpoint}' is the run's '{result}' too, expected another.");
            foreach (string output in (string[])[settings.Checkpoint, .. results])
            {
                SafeFile.RequireWritable(output);
                if (settings.Paths.FirstOrDefault(p => File.Exists(p) && SafeFile.AreSame(p, output)) is { } text)
                    throw new StreamException($"The text '{text}' would be overwritten by the run's '{output}', expected another file.");
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StreamException($"The run's results cannot be written: {e.Message}", e);
        }
    }

    private static void CreateFolder(string path)
    {
        try
        {
            Directory.CreateDirectory(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new StreamException($"The folder '{path}' cannot be created: {e.Message}", e);
        }
    }
}
