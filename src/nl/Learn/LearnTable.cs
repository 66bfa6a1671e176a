using System.Globalization;
using Spectre.Console;

namespace NestedLearning.CommandLine.Learn;

/// <summary>Numbers with names: a line for each learner, a column for each thing measured.</summary>
/// <param name="Title">What the numbers are.</param>
/// <param name="Columns">The names of the columns.</param>
/// <param name="Rows">The lines; a null is a dash.</param>
/// <param name="Format">How a number is written.</param>
internal sealed record LearnTable(string Title, IReadOnlyList<string> Columns, IReadOnlyList<LearnRow> Rows, string Format = "F3")
{
    public void Write(IAnsiConsole console)
    {
        console.WriteLine();
        console.WriteLine(Title);
        Table table = Terminal.Table(console, ["", .. Columns]);
        foreach (TableColumn column in table.Columns)
        {
            if (column != table.Columns[0])
                column.Alignment = Justify.Right;
            if (!console.Profile.Capabilities.Ansi)
                column.Padding = new Padding(0, 0, 2, 0);
        }

        foreach (LearnRow row in Rows)
            table.AddRow([new Text(row.Name), .. row.Values.Select((v, i) => new Text(v is { } value ? Text(value, Columns[i]) : "–"))]);
        console.Write(table);
    }

    // Rates, counts and measurements share tables.
    private string Text(double value, string column) => column switch
    {
        "rate" => Readable.Number(value),
        _ when Math.Abs(value) >= 1000 => value.ToString("N0", CultureInfo.InvariantCulture),
        _ => value.ToString(Format, CultureInfo.InvariantCulture),
    };
}

/// <summary>A line of a table.</summary>
internal sealed record LearnRow(string Name, params IReadOnlyList<double?> Values);
