namespace NestedLearning.Generator;

/// <summary>An expression over whole numbers and truth values (0 and 1), with the meaning that C++ and C# share.</summary>
internal abstract record Expression(int Line)
{
    /// <summary>How tightly its outermost operator binds.</summary>
    public abstract int Precedence { get; }

    /// <summary>It and all that it is made of.</summary>
    public IEnumerable<Expression> Parts()
    {
        IEnumerable<Expression> inner = this switch
        {
            Call c => c.Arguments,
            Negation n => [n.Of],
            Operation o => [o.Left, o.Right],
            Conditional c => [c.Condition, c.Then, c.Else],
            _ => [],
        };
        return inner.SelectMany(e => e.Parts()).Prepend(this);
    }
}

internal sealed record Number(int Value, int Line) : Expression(Line)
{
    public override int Precedence => 10;
}

internal sealed record Reference(string Name, int Line) : Expression(Line)
{
    public override int Precedence => 10;
}

internal sealed record Call(string Name, IReadOnlyList<Expression> Arguments, int Line) : Expression(Line)
{
    public override int Precedence => 10;
}

internal sealed record Negation(string Operator, Expression Of, int Line) : Expression(Line)
{
    public override int Precedence => 9;
}

internal sealed record Operation(string Operator, Expression Left, Expression Right, int Line) : Expression(Line)
{
    /// <summary>Operators from the loosest on; those of one level are taken from left to right.</summary>
    public static readonly string[][] Levels = [["||"], ["&&"], ["==", "!="], ["<", ">", "<=", ">="], ["+", "-"], ["*", "/", "%"]];

    public override int Precedence => 2 + Array.FindIndex(Levels, level => level.Contains(Operator));
}

internal sealed record Conditional(Expression Condition, Expression Then, Expression Else, int Line) : Expression(Line)
{
    public override int Precedence => 1;
}

/// <summary>What expressions come to.</summary>
internal sealed class Evaluator
{
    private readonly Dictionary<string, Constant> _constants = [];
    private readonly Dictionary<string, Formula> _formulas = [];

    public Evaluator(IEnumerable<SourceFile> files)
    {
        foreach (SourceFile file in files)
        {
            foreach (Constant constant in file.Constants)
                _constants.Add(constant.Name, constant);
            foreach (Formula formula in file.Formulas)
                _formulas.Add(formula.Name, formula);
        }
    }

    public int Value(Expression expression) => Value(expression, []);

    public int Value(string formula, params ReadOnlySpan<int> arguments)
    {
        Formula f = _formulas[formula];
        var names = new Dictionary<string, int>();
        for (int i = 0; i < f.Parameters.Count; i++)
            names.Add(f.Parameters[i].Name, arguments[i]);
        foreach ((string name, Expression value) in f.Locals)
            names.Add(name, Value(value, names));
        return Value(f.Result, names);
    }

    private int Value(Expression expression, Dictionary<string, int> names) => expression switch
    {
        Number n => n.Value,
        Reference r => names.TryGetValue(r.Name, out int value) ? value : Value(_constants[r.Name].Value, []),
        Call c => Value(c.Name, [.. c.Arguments.Select(a => Value(a, names))]),
        Negation n => n.Operator == "!" ? (Value(n.Of, names) == 0 ? 1 : 0) : checked(-Value(n.Of, names)),
        Conditional c => Value(Value(c.Condition, names) != 0 ? c.Then : c.Else, names),
        Operation o => Apply(o.Operator, Value(o.Left, names), Value(o.Right, names)),
        _ => throw new ArgumentException($"Not an expression: {expression}.", nameof(expression)),
    };

    private static int Apply(string op, int left, int right) => op switch
    {
        "+" => checked(left + right),
        "-" => checked(left - right),
        "*" => checked(left * right),
        "/" => left / right,
        "%" => left % right,
        "==" => left == right ? 1 : 0,
        "!=" => left != right ? 1 : 0,
        "<" => left < right ? 1 : 0,
        ">" => left > right ? 1 : 0,
        "<=" => left <= right ? 1 : 0,
        ">=" => left >= right ? 1 : 0,
        "&&" => left != 0 && right != 0 ? 1 : 0,
        "||" => left != 0 || right != 0 ? 1 : 0,
        _ => throw new ArgumentException($"Not an operator: {op}.", nameof(op)),
    };
}
