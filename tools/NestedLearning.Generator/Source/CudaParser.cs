namespace NestedLearning.Generator;

/// <summary>A .cuh with the arguments of CUDA kernels: constexpr int and functions of it, enum class, structs.</summary>
/// <param name="included">The files that this one may include, parsed.</param>
internal sealed class CudaParser(string file, string text, IReadOnlyList<SourceFile> included) : Parser(file, text)
{
    private readonly List<Declaration> _declarations = [];

    public static SourceFile Parse(string file, string text, IReadOnlyList<SourceFile> included) =>
        new CudaParser(file, text, included).Parse(file);

    private IEnumerable<Declaration> Known =>
        included.Where(i => Includes.Any(name => i.Path == $"native/{name}")).SelectMany(i => i.Declarations).Concat(_declarations);

    private SourceFile Parse(string file)
    {
        foreach (string name in Includes.Where(n => n != "cuda/cuda.h" && included.All(i => i.Path != $"native/{n}")))
            throw Error(1, $"expected #include \"cuda/cuda.h\" or a .cuh of another kernel, not '{name}'");
        Expect("namespace", "at the beginning");
        Expect("nested_learning", "after namespace");
        Expect("{", "after the namespace");
        while (!Take("}"))
            Declare();
        if (Current.Kind != TokenKind.End)
            throw Expected("nothing after the namespace");
        return new SourceFile(file, Head, Includes, [new Section("", _declarations)]);
    }

    private void Declare()
    {
        int line = Current.Line;
        if (Take("constexpr"))
            ConstantsOrFormula(line);
        else if (Take("enum"))
            Add(Enumeration(line));
        else if (Take("struct"))
            Add(Struct(line));
        else
            throw Expected("constexpr int, enum class or struct");
    }

    private void Add(Declaration declaration)
    {
        if (Known.Any(k => k.Name == declaration.Name))
            throw Error(declaration.Line, $"'{declaration.Name}' is declared twice");
        _declarations.Add(declaration);
    }

    private void ConstantsOrFormula(int line)
    {
        Expect("int", "after constexpr");
        string name = Word("a name");
        if (Is("("))
        {
            Add(Formula(name, line));
            return;
        }

        var constants = new List<Constant>();
        while (true)
        {
            if (name.Length < 2 || name[0] != 'k' || !char.IsAsciiLetterUpper(name[1]))
                throw Error(LastLine, $"expected a constant's name such as kScanThreads, not '{name}'");
            Expect("=", $"after {name}");
            Expression value = Checked(Expression(), []);
            constants.Add(new Constant(name, value, null, line));
            // Of several in a line the later may use the earlier.
            Add(constants[^1]);
            if (!Take(","))
                break;
            name = Word("a name");
        }

        Expect(";", $"after {name}");
        Doc? doc = DocOf(line, LastLine);
        _declarations.RemoveRange(_declarations.Count - constants.Count, constants.Count);
        _declarations.AddRange(constants.Select(c => c with { Doc = doc }));
    }

    private Formula Formula(string name, int line)
    {
        Expect("(", $"after {name}");
        var parameters = new List<Parameter>();
        do
        {
            TypeName type = Type("a parameter's type");
            if (type is not ({ Name: "int" or "bool", Pointers: 0 }))
                throw Error(LastLine, $"expected int or bool as the type of {name}'s parameter, not '{type.Name}'");
            parameters.Add(new Parameter(Word("a parameter's name"), type));
        }
        while (Take(","));
        Expect(")", $"after the parameters of {name}");
        Expect("{", $"after {name}");
        List<string> names = [.. parameters.Select(p => p.Name)];
        var locals = new List<(string, Expression)>();
        while (Take("const"))
        {
            Expect("int", "after const");
            do
            {
                string local = Word("a name");
                Expect("=", $"after {local}");
                locals.Add((local, Checked(Expression(), names)));
                names.Add(local);
            }
            while (Take(","));
            Expect(";", $"after {names[^1]}");
        }

        Expect("return", $"or 'const int' in {name}");
        Expression result = Checked(Expression(), names);
        Expect(";", "after the result");
        Expect("}", $"after the result of {name}");
        return new Formula(name, parameters, locals, result, DocAbove(line), line);
    }

    // That every name is known and every call has as many arguments as its function.
    private Expression Checked(Expression expression, IReadOnlyList<string> names)
    {
        foreach (Expression e in expression.Parts())
        {
            if (e is Reference r && !names.Contains(r.Name) && !Known.OfType<Constant>().Any(c => c.Name == r.Name))
                throw Error(r.Line, $"expected a constant or a parameter, not '{r.Name}'");
            if (e is Call c && Known.OfType<Formula>().FirstOrDefault(f => f.Name == c.Name)?.Parameters.Count != c.Arguments.Count)
                throw Error(c.Line, $"there is no function '{c.Name}' of {c.Arguments.Count} arguments before this line");
        }

        return expression;
    }

    private Enumeration Enumeration(int line)
    {
        Expect("class", "after enum");
        string name = Word("an enum's name");
        Expect(":", $"after {name}");
        Expect("int32_t", $"as what {name} is stored as");
        Expect("{", $"after {name}");
        var members = new List<Member>();
        do
            members.Add(new Member(Word("a value's name"), members.Count, null));
        while (Take(",") && !Is("}"));
        Expect("}", $"after the last value of {name}");
        Expect(";", $"after {name}");
        return new Enumeration(name, members, DocAbove(line), line);
    }

    private Struct Struct(int line)
    {
        string name = Word("a struct's name");
        string[] structs = [.. Known.OfType<Struct>().Select(s => s.Name)];
        string? from = null;
        if (Take(":"))
        {
            from = Word("the struct it derives from");
            if (!structs.Contains(from))
                throw Error(LastLine, $"expected a struct that is defined before, not '{from}'");
        }

        List<Field> fields = Fields(name, structs, [.. Known.OfType<Enumeration>().Select(e => e.Name)]);
        Expect(";", $"after {name}");
        return new Struct(name, from, fields, DocAbove(line), line);
    }
}
