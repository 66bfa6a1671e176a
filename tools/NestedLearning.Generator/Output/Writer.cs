using System.Text;

namespace NestedLearning.Generator;

/// <summary>Lines of a generated file.</summary>
internal sealed class Writer
{
    private const int Width = 140;

    private readonly StringBuilder _text = new();

    /// <param name="comment">What a comment of a line begins with.</param>
    /// <param name="source">The file or files that it is made from.</param>
    public Writer(string source, string comment = "// ", string end = "")
    {
        // The first line of every generated file.
        Line($"{comment}Made by {Outputs.Command} from {source}: do not edit.{end}");
    }

    public override string ToString() => _text.ToString();

    public void Line(string line = "") => _text.Append(line).Append('\n');

    /// <summary>A line of code; where it is too long it goes on in others, broken at <see cref="Break"/>.</summary>
    public void Code(string indent, string code)
    {
        string line = indent;
        foreach (string part in code.Split(Break))
        {
            if (line.Length + part.TrimEnd().Length > Width)
            {
                Line(line.TrimEnd());
                line = indent + "    ";
            }

            line += part;
        }

        Line(line);
    }

    /// <summary>Stands where a line of code may be broken.</summary>
    public const char Break = '\u0001';

    /// <summary>A documentation comment.</summary>
    /// <param name="name">What the thing is called natively, or null.</param>
    public void Summary(string indent, Doc? doc, string? name = null)
    {
        int width = Width - indent.Length - "/// ".Length;
        string[] lines = [.. (doc?.Lines ?? []).SelectMany(l => Wrap(Escape(l), width))];
        string prefix = name is null ? "" : $"<c>{name}</c>";
        if (lines.Length == 0 && name is null)
            return;
        string single = lines.Length == 0 ? $"{prefix}." : (name is null ? "" : $"{prefix}: ") + Ended(lines[0].Trim());
        if (lines.Length <= 1 && single.Length + "<summary></summary>".Length <= width)
        {
            Line($"{indent}/// <summary>{single}</summary>");
            return;
        }

        Line($"{indent}/// <summary>");
        if (name is not null)
            Line($"{indent}/// {prefix}:");
        foreach (string line in lines)
            Line($"{indent}/// {line}".TrimEnd());
        Line($"{indent}/// </summary>");
    }

    private static string Ended(string line) => line.EndsWith('.') ? line : line + ".";

    private static string Escape(string line) =>
        line.Replace("&", "&amp;", StringComparison.Ordinal).Replace("<", "&lt;", StringComparison.Ordinal)
        .Replace(">", "&gt;", StringComparison.Ordinal);

    private static IEnumerable<string> Wrap(string line, int width)
    {
        while (line.Length > width)
        {
            int space = line.LastIndexOf(' ', width);
            if (space <= 0)
                break;
            yield return line[..space];
            line = line[(space + 1)..];
        }

        yield return line;
    }
}
