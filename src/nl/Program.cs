using System.CommandLine;
using System.CommandLine.Help;
using System.Globalization;
using NestedLearning.CommandLine.Commands;
using NestedLearning.CommandLine.Streaming;
using NestedLearning.Gpu;

namespace NestedLearning.CommandLine;

internal static class Program
{
    // In the order of the help text. A command is one class in Commands/ and one line here.
    private static Command[] Commands() =>
    [
        StreamCommand.Create(),
        DescribeCommand.Create(),
        LearnCommand.Create(),
        ContinualCommand.Create(),
        OpCommand.Create(),
        CheckCommand.Create(),
        DoctorCommand.Create(),
        BenchCommand.Create(),
    ];

    public static Task<int> Main(string[] args) => RunAsync(args, Console.Out, Console.Error);

    /// <summary>Parses and runs one command line. Whatever goes wrong ends in one line on <paramref name="error"/>.</summary>
    /// <returns>The exit status; see <see cref="ExitStatus"/>.</returns>
    internal static async Task<int> RunAsync(string[] args, TextWriter output, TextWriter error)
    {
        GpuBackends.Register();
        // What programs read is written alike wherever this runs.
        CultureInfo.CurrentCulture = CultureInfo.InvariantCulture;
        var verbose = new Option<bool>("--verbose")
        {
            Description = "Show the stack trace with an error (also: NL_TRACE=1).",
            Recursive = true,
        };
        var root = new RootCommand("Associative memories that learn online: operations, checks and runs.") { verbose };
        foreach (Command command in Commands())
            root.Add(command);
        root.SetAction(parse => new HelpAction().Invoke(parse));

        ParseResult parse = root.Parse(args);
        bool trace = parse.GetResult(verbose) is { Implicit: false } || Environment.GetEnvironmentVariable("NL_TRACE") is "1" or "true";
        if (parse.Errors.Count > 0)
        {
            await error.WriteLineAsync($"nl: {OneLine(string.Join(' ', parse.Errors.Select(e => e.Message)))} ({Help(parse)})");
            return ExitStatus.BadInput;
        }

        try
        {
            return await parse.InvokeAsync(new InvocationConfiguration
            {
                Output = output,
                Error = error,
                EnableDefaultExceptionHandler = false,
            });
        }
        catch (Exception e) when (!trace && IsBadInput(e))
        {
            await error.WriteLineAsync($"nl: {Describe(e)}");
            return ExitStatus.BadInput;
        }
        catch (Exception e) when (!trace)
        {
            await error.WriteLineAsync($"nl: {e.GetType().Name}: {Describe(e)} (NL_TRACE=1 shows where)");
            return ExitStatus.BadInput;
        }
        catch (Exception e)
        {
            await error.WriteLineAsync($"nl: {e}");
            return ExitStatus.BadInput;
        }
    }

    private static bool IsBadInput(Exception e) =>
        e is CaseException or StreamException or ArgumentException or CheckpointException or BackendUnavailableException
            or NotFiniteNumberException or IOException or UnauthorizedAccessException;

    /// <summary>The message of an exception as one line, without what <see cref="ArgumentException"/> adds to it.</summary>
    internal static string Describe(Exception e)
    {
        string message = e.Message;
        if (e is ArgumentException { ParamName: { Length: > 0 } name })
        {
            int suffix = message.IndexOf($" (Parameter '{name}')", StringComparison.Ordinal);
            if (suffix > 0)
                message = message[..suffix];
        }

        return OneLine(message);
    }

    private static string OneLine(string message) =>
        string.Join(' ', message.Split(['\r', '\n'], StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries));

    private static string Help(ParseResult parse) =>
        parse.CommandResult.Command is RootCommand ? "see nl --help" : $"see nl {parse.CommandResult.Command.Name} --help";
}
