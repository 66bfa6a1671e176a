namespace NestedLearning.Generator;

/// <summary>
/// What the header and the .cuh files have in common: tokens, comments, fields, expressions. It takes what it knows; anything
/// else is an error that says where and what was expected.
/// </summary>
/// <remarks>
/// A declaration's comment ends in the line before it, or begins behind it. Of the others the first is the file's own, and those
/// with an empty line after them are for readers of the source.
/// </remarks>
internal abstract class Parser
{
    private readonly string _file;
    private readonly IReadOnlyList<Token> _tokens;
    private readonly IReadOnlyList<Comment> _comments;
    private int _at;

    protected Parser(string file, string text)
    {
        (_file, Source) = (file, text);
        (_tokens, _comments, Includes) = Lexer.Read(file, text);
    }

    protected IReadOnlyList<string> Includes { get; }

    protected string Source { get; }

    protected IReadOnlyList<Comment> Comments => _comments;

    protected Token Current => _tokens[_at];

    /// <summary>The line of the token that was taken last.</summary>
    protected int LastLine => _at == 0 ? 0 : _tokens[_at - 1].Line;

    /// <summary>A struct's size in bytes and its alignment come from these.</summary>
    protected static IReadOnlyList<string> Scalars { get; } = ["int32_t", "uint32_t", "int64_t", "uint64_t", "float", "double"];

    /// <summary>The file's own comment: the first, before any declaration.</summary>
    protected Doc? Head => _comments is [{ IsAlone: true } first, ..] && first.First < _tokens[0].Line ? new Doc(first.Lines) : null;

    protected bool Is(string text) => Current.Kind is TokenKind.Sign or TokenKind.Word && Current.Text == text;

    protected bool Take(string text)
    {
        if (!Is(text))
            return false;
        _at++;
        return true;
    }

    protected Token Take() => _tokens[_at++];

    protected void Expect(string text, string where)
    {
        if (!Take(text))
            throw Expected($"'{text}' {where}");
    }

    protected string Word(string what)
    {
        if (Current.Kind != TokenKind.Word)
            throw Expected(what);
        return Take().Text;
    }

    protected SourceException Expected(string what) => Error(Current.Line, $"expected {what}, not '{Current.Text}'");

    protected SourceException Error(int line, string message) => new(_file, line, message);

    /// <summary>The comments of a declaration in these lines: above it and behind it.</summary>
    protected Doc? DocOf(int first, int last)
    {
        Doc? above = DocAbove(first);
        Comment? behind = _comments.FirstOrDefault(c => !c.IsAlone && c.First == last);
        return behind is null ? above : new Doc([.. above?.Lines ?? [], .. behind.Lines]);
    }

    /// <summary>The comment above a declaration, without that behind it, where a body follows.</summary>
    protected Doc? DocAbove(int first) =>
        _comments.FirstOrDefault(c => c.IsAlone && c.Last == first - 1) is { } comment
        && comment.Lines != Head?.Lines ? new Doc(comment.Lines) : null;

    /// <summary>Fields up to the brace that ends a struct.</summary>
    protected List<Field> Fields(string of, IReadOnlyCollection<string> structs, IReadOnlyCollection<string> enumerations)
    {
        var fields = new List<Field>();
        Expect("{", $"after {of}");
        while (!Take("}"))
        {
            int first = Current.Line;
            TypeName type = Type("a field's type");
            bool isKnown = type.Pointers > 0
                ? type.Name == "void" || Scalars.Contains(type.Name) || structs.Contains(type.Name)
                : Scalars.Contains(type.Name) || structs.Contains(type.Name) || enumerations.Contains(type.Name);
            if (!isKnown)
                throw Error(first, $"expected {string.Join(", ", Scalars)}, a pointer, or a struct that is defined before, not " +
                    $"'{type.Name}' as the type of a field");
            var names = new List<(string Name, Expression? Length)>();
            do
            {
                string name = Word("a field's name");
                Expression? length = Take("[") ? Expression() : null;
                if (length is not null)
                    Expect("]", "after an array's length");
                names.Add((name, length));
            }
            while (Take(","));
            if (names.Count > 1 && type.Pointers > 0)
                throw Error(first, $"expected one pointer in a line, as the star belongs to '{names[0].Name}' alone");
            Expect(";", $"after the field '{names[^1].Name}'");
            Doc? doc = DocOf(first, LastLine);
            fields.AddRange(names.Select(n => new Field(n.Name, type, n.Length, doc, first)));
        }

        if (fields.Count == 0)
            throw Error(LastLine, $"expected fields in {of}");
        if (fields.GroupBy(f => f.Name).FirstOrDefault(g => g.Count() > 1) is { } twice)
            throw Error(twice.Last().Line, $"{of} has two fields '{twice.Key}'");
        return fields;
    }

    /// <summary>A type with its stars: <c>const struct nl_adam_arguments*</c>.</summary>
    protected TypeName Type(string what)
    {
        bool isConst = Take("const");
        Take("struct");
        string name = Word(what);
        int pointers = 0;
        while (Take("*"))
            pointers++;
        return pointers > 1 ? throw Error(LastLine, $"expected at most one star after '{name}'") : new TypeName(name, pointers, isConst);
    }

    protected Expression Expression()
    {
        Expression condition = Binary(0);
        if (!Take("?"))
            return condition;
        Expression then = Expression();
        Expect(":", "in a conditional expression");
        return new Conditional(condition, then, Expression(), condition.Line);
    }

    private Expression Binary(int level)
    {
        if (level == Operation.Levels.Length)
            return Unary();
        Expression left = Binary(level + 1);
        while (Current.Kind == TokenKind.Sign && Operation.Levels[level].Contains(Current.Text))
        {
            string op = Take().Text;
            left = new Operation(op, left, Binary(level + 1), left.Line);
        }

        return left;
    }

    private Expression Unary()
    {
        int line = Current.Line;
        if (Is("!") || Is("-"))
            return new Negation(Take().Text, Unary(), line);
        if (Take("("))
        {
            Expression inner = Expression();
            Expect(")", "in an expression");
            return inner;
        }

        if (Current.Kind == TokenKind.Number)
            return new Number(Take().Value, line);
        string name = Word("a number, a name or a parenthesis");
        if (!Take("("))
            return new Reference(name, line);
        var arguments = new List<Expression>();
        do
            arguments.Add(Expression());
        while (Take(","));
        Expect(")", $"after the arguments of '{name}'");
        return new Call(name, arguments, line);
    }
}
