using System.CommandLine;
using Spectre.Console;

namespace NestedLearning.CommandLine;

/// <summary>Output for people: tables with colours and borders on a terminal, plain columns when it is redirected.</summary>
internal static class Terminal
{
    /// <summary>A console over the standard output of an invocation.</summary>
    public static IAnsiConsole Output(ParseResult parse) => For(parse.InvocationConfiguration.Output);

    /// <summary>A console over a writer. Only the process' own standard output, and that on a terminal, gets colours.</summary>
    public static IAnsiConsole For(TextWriter writer)
    {
        bool interactive = ReferenceEquals(writer, Console.Out) && !Console.IsOutputRedirected;
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Ansi = interactive ? AnsiSupport.Detect : AnsiSupport.No,
            ColorSystem = interactive ? ColorSystemSupport.Detect : ColorSystemSupport.NoColors,
            Interactive = interactive ? InteractionSupport.Detect : InteractionSupport.No,
            Out = new AnsiConsoleOutput(interactive ? writer : new LineEndTrimmer(writer)),
        });
        // Nothing wraps or is cut where a program reads it.
        if (!interactive)
            console.Profile.Width = 10_000;
        return console;
    }

    /// <summary>An empty table that fits the console: with a border on a terminal, columns of text elsewhere.</summary>
    public static Table Table(IAnsiConsole console, params string[] columns)
    {
        var table = new Table { Border = console.Profile.Capabilities.Ansi ? TableBorder.Rounded : TableBorder.None };
        foreach (string column in columns)
            table.AddColumn(new TableColumn(Markup.Escape(column)));
        return table;
    }
}
