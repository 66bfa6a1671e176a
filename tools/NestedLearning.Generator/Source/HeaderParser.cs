using System.Text.RegularExpressions;

namespace NestedLearning.Generator;

/// <summary>The C header: constants, enums with their values, structs that begin with their size, exported functions.</summary>
internal sealed partial class HeaderParser(string file, string text) : Parser(file, text)
{
    private static readonly string[] s_results = ["int32_t", "uint32_t"];

    private readonly HashSet<string> _structs = [];

    public static SourceFile Parse(string file, string text) => new HeaderParser(file, text).Parse(file);

    private SourceFile Parse(string file)
    {
        if (Includes is not ["stdint.h"])
            throw Error(1, $"expected #include <stdint.h> and nothing else, not {string.Join(", ", Includes)}");
        var sections = new List<Section>();
        var declarations = new List<Declaration>();
        Comment[] headings = [.. Comments.Where(c => c.Lines is [string line, ..] && HeadingPattern().IsMatch(line))];
        string? title = null;
        int next = 0;
        while (true)
        {
            bool isEnd = Current.Kind == TokenKind.End;
            if (isEnd || (next < headings.Length && headings[next].First < Current.Line))
            {
                if (title is not null)
                    sections.Add(new Section(title, declarations));
                if (isEnd)
                    break;
                if (headings.Count(h => h.First < Current.Line) != next + 1)
                    throw Error(headings[next].First, "expected declarations under the heading");
                title = HeadingPattern().Match(headings[next++].Lines[0]).Groups[1].Value;
                declarations = [];
            }

            if (title is null)
                throw Expected("a heading '/* ---- Title ---- */' before the first declaration");
            declarations.Add(Declaration());
        }

        var result = new SourceFile(file, Head, Includes, sections);
        if (result.Declarations.GroupBy(d => d.Name).FirstOrDefault(g => g.Count() > 1) is { } twice)
            throw Error(twice.Last().Line, $"'{twice.Key}' is declared twice");
        return result;
    }

    private Declaration Declaration()
    {
        int line = Current.Line;
        if (Current.Kind == TokenKind.Define)
        {
            Token define = Take();
            return new Constant(define.Text, new Number(define.Value, line), DocOf(line, line), line);
        }

        if (Take("enum"))
            return Enumeration(line);
        if (Take("typedef"))
            return Struct(line);
        return Take("NL_API") ? Function(line) : throw Expected("#define NL_NAME, enum, typedef struct or NL_API");
    }

    private Enumeration Enumeration(int line)
    {
        string name = Name("an enum's name");
        Doc? doc = DocAbove(line);
        var members = new List<Member>();
        Expect("{", $"after {name}");
        do
        {
            int first = Current.Line;
            string member = Word("a value's name");
            Expect("=", $"after '{member}', as every value is written out");
            if (Current.Kind != TokenKind.Number)
                throw Expected($"the number of '{member}'");
            int value = Take().Value;
            int last = LastLine;
            bool isLast = !Is(",");
            if (!isLast)
                last = Current.Line;
            members.Add(new Member(member, value, DocOf(first, last)));
        }
        while (Take(",") && !Is("}"));
        Expect("}", $"after the last value of {name}");
        Expect(";", $"after {name}");
        if (members.GroupBy(m => m.Value).FirstOrDefault(g => g.Count() > 1) is { } twice)
            throw Error(line, $"{name} has {string.Join(" and ", twice.Select(m => m.Name))} with one value");
        return new Enumeration(name, members, doc, line);
    }

    private Struct Struct(int line)
    {
        Expect("struct", "after typedef");
        string name = Name("a struct's name");
        // A struct may be pointed at before it is defined.
        List<Field> fields = Fields(name, [.. _structs, .. ForwardPattern().Matches(Source).Select(m => m.Groups[1].Value)], []);
        if (Word($"'{name}'") != name)
            throw Error(LastLine, $"expected '{name}' again after its fields");
        Expect(";", $"after {name}");
        if (fields[0] is not { Name: "size", Type: { Name: "uint32_t", Pointers: 0 } })
            throw Error(fields[0].Line, $"expected 'uint32_t size' as the first field of {name}");
        _structs.Add(name);
        return new Struct(name, null, fields, DocAbove(line), line);
    }

    private Function Function(int line)
    {
        TypeName returns = Type("a function's result");
        if (returns is not ({ Name: "char", Pointers: 1, IsConst: true } or { Pointers: 0 })
            || (returns.Pointers == 0 && !s_results.Contains(returns.Name)))
            throw Error(line, $"expected {string.Join(", ", s_results)} or const char* as a function's result, not '{returns.Name}'");
        string name = Name("a function's name");
        Expect("(", $"after {name}");
        var parameters = new List<Parameter>();
        if (!Take("void"))
        {
            do
            {
                TypeName type = Type("a parameter's type");
                bool isKnown = Scalars.Contains(type.Name)
                    || (type.Pointers > 0 && (_structs.Contains(type.Name) || type is { Name: "char", IsConst: true }));
                if (!isKnown)
                    throw Error(LastLine, $"expected {string.Join(", ", Scalars)}, a pointer to one or to a struct that is defined " +
                        $"before, or const char*, not '{type.Name}' as a parameter of {name}");
                parameters.Add(new Parameter(Word("a parameter's name"), type));
            }
            while (Take(","));
        }

        Expect(")", $"after the parameters of {name}");
        Expect(";", $"after {name}");
        return new Function(name, returns, parameters, DocAbove(line), line);
    }

    private string Name(string what)
    {
        string name = Word(what);
        return name.StartsWith("nl_", StringComparison.Ordinal) ? name
            : throw Error(LastLine, $"expected {what} that begins with nl_, not '{name}'");
    }

    [GeneratedRegex("^---- (.*?) -+$")]
    private static partial Regex HeadingPattern();

    [GeneratedRegex(@"typedef struct (nl_\w+)")]
    private static partial Regex ForwardPattern();
}
