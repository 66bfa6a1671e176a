namespace NestedLearning.Generator;

/// <summary>The .cuh files as C#: a file for each, with its structs, constants and functions.</summary>
internal static class CudaBindings
{
    public static IEnumerable<(string Path, string Text)> Files(IReadOnlyList<SourceFile> files, Layout layout) =>
        files.Select(f => ($"{Outputs.CudaFolder}/{Names.Stem(f.Path)}.cs", File(f, files, layout)));

    private static string File(SourceFile file, IReadOnlyList<SourceFile> all, Layout layout)
    {
        var writer = new Writer(file.Path);
        string stem = Names.Stem(file.Path);
        Enumeration[] enumerations = [.. all.SelectMany(f => f.Enumerations)];
        bool hasArrays = file.Structs.Any(s => s.Fields.Any(f => f.Length is not null));
        if (hasArrays)
            writer.Line("using System.Runtime.CompilerServices;");
        writer.Line("using System.Runtime.InteropServices;");
        writer.Line();
        writer.Line("namespace NestedLearning.Gpu.Cuda;");
        foreach (Struct s in file.Structs)
        {
            foreach (Field field in s.Fields.Where(f => f.Length is not null))
                Array(writer, field, all);
            string? inherited = s.Base is null ? null : Names.InFile(s.Base, stem);
            StructWriter.Write(writer, s, s.Name, s.Name, layout, Bindings.FieldsOf(file, s), name =>
                enumerations.Any(e => e.Name == name) ? "int" : name, inherited);
        }

        Declaration[] members = [.. file.Declarations.Where(d => d is Constant or Formula)];
        if (members.Length > 0)
        {
            writer.Line();
            writer.Line($"internal static partial class {stem}Kernels");
            writer.Line("{");
            for (int i = 0; i < members.Length; i++)
            {
                if (i > 0)
                    writer.Line();
                Write(writer, members[i], all);
            }

            writer.Line("}");
        }

        return writer.ToString();
    }

    private static void Array(Writer writer, Field field, IReadOnlyList<SourceFile> all)
    {
        writer.Line();
        writer.Line($"/// <summary>As many {field.Type.Name} as {field.Name} holds.</summary>");
        writer.Line($"[InlineArray({new Formulas(all, "").Text(field.Length!)})]");
        writer.Line($"internal struct {StructWriter.ArrayName(field.Type.Name)}");
        writer.Line("{");
        writer.Line($"    private {field.Type.Name} _first;");
        writer.Line("}");
    }

    private static void Write(Writer writer, Declaration declaration, IReadOnlyList<SourceFile> all)
    {
        SourceFile file = all.Single(f => f.Declarations.Contains(declaration));
        string stem = Names.Stem(file.Path);
        var formulas = new Formulas(all, stem);
        writer.Summary("    ", declaration.Doc, declaration.Name);
        if (declaration is Constant constant)
        {
            // Constants of C# cannot call.
            string value = constant.Value.Parts()
                .Any(p => p is Call) ? $"{new Evaluator(all).Value(constant.Value)}" : formulas.Text(constant.Value);
            writer.Code("    ", $"public const int {Names.InFile(constant.Name, stem)} = {value};");
            return;
        }

        var formula = (Formula)declaration;
        string parameters = string.Join(", ", formula.Parameters.Select(p => $"{p.Type.Name} {Names.Camel(p.Name)}"));
        string head = $"public static int {Names.InFile(formula.Name, stem)}({parameters})";
        if (formula.Locals.Count == 0)
        {
            writer.Code("    ", $"{head} => {Writer.Break}{formulas.Text(formula.Result)};");
            return;
        }

        writer.Line($"    {head}");
        writer.Line("    {");
        foreach ((string name, Expression value) in formula.Locals)
            writer.Code("        ", $"int {Names.Camel(name)} = {formulas.Text(value)};");
        writer.Code("        ", $"return {formulas.Text(formula.Result)};");
        writer.Line("    }");
    }
}

/// <summary>Expressions in C#, with the names that they have in a file's class.</summary>
internal sealed class Formulas(IReadOnlyList<SourceFile> all, string stem)
{
    public string Text(Expression expression) => expression switch
    {
        Number n => $"{n.Value}",
        Reference r => Name(r.Name) ?? Names.Camel(r.Name),
        Call c => $"{Name(c.Name)}({string.Join(", ", c.Arguments.Select(Text))})",
        Negation n => n.Operator + Inner(n.Of, n.Precedence),
        Conditional c => $"{Inner(c.Condition, 2)} {Writer.Break}? {Inner(c.Then, 2)} {Writer.Break}: {Text(c.Else)}",
        Operation o =>
            $"{Inner(o.Left, o.Precedence)} {o.Operator} {(o.Precedence <= 6 ? Writer.Break : "")}{Inner(o.Right, o.Precedence + 1)}",
        _ => throw new ArgumentException($"Not an expression: {expression}.", nameof(expression)),
    };

    private string Inner(Expression expression, int precedence) =>
        expression.Precedence < precedence ? $"({Text(expression)})" : Text(expression);

    // null for a parameter or a local.
    private string? Name(string name)
    {
        SourceFile? file = all.FirstOrDefault(f => f.Declarations.Any(d => d.Name == name));
        if (file is null)
            return null;
        string own = Names.Stem(file.Path), member = Names.InFile(name, own);
        return own == stem ? member : $"{own}Kernels.{member}";
    }
}
