namespace NestedLearning.Generator;

/// <summary>
/// What the native build takes: the table of struct sizes, sources in which the compiler confirms offsets and values, and the
/// interface as a table, for tests that call all of it.
/// </summary>
internal static class NativeChecks
{
    private const string Anew = "not what the generated files say: " + Outputs.Command;

    // What the parameters of functions are tried at.
    private static readonly int[] s_tried = [1, 16, 33, 64, 100, 128];

    public static IEnumerable<(string Path, string Text)> Files(SourceFile header, IReadOnlyList<SourceFile> cuda, Layout headerLayout,
        Layout cudaLayout) =>
    [
        ("native/core/struct_sizes.inc", Sizes(header)),
        ("native/tests/header_layout.c", HeaderLayout(header, headerLayout)),
        ("native/cuda/tests/layout_test.cc", CudaLayout(header, cuda, cudaLayout)),
        ("native/tests/core/interface.inc", Interface(header)),
    ];

    private static string Sizes(SourceFile header)
    {
        var writer = new Writer(header.Path);
        foreach (Struct s in header.Structs)
            writer.Line($"{{\"{s.Name}\", sizeof({s.Name})}},");
        return writer.ToString();
    }

    private static string HeaderLayout(SourceFile header, Layout layout)
    {
        var writer = new Writer(header.Path, "/* ", " */");
        writer.Line("#include <stddef.h>");
        writer.Line();
        writer.Line("#include \"nested_learning.h\"");
        writer.Line();
        Macros(writer, "_Static_assert");
        writer.Line();
        foreach (Constant constant in header.Constants)
            writer.Line($"IS({constant.Name}, {((Number)constant.Value).Value});");
        foreach (Enumeration enumeration in header.Enumerations)
        {
            writer.Line();
            foreach (Member member in enumeration.Members)
                writer.Line($"IS({member.Name}, {member.Value});");
        }

        foreach (Struct s in header.Structs)
            Write(writer, s, layout);
        return writer.ToString();
    }

    private static string CudaLayout(SourceFile header, IReadOnlyList<SourceFile> cuda, Layout layout)
    {
        var writer = new Writer("native/kernels/*/*.cuh");
        writer.Line("#include <cstddef>");
        writer.Line();
        foreach (SourceFile file in cuda)
            writer.Line($"#include \"{file.Path["native/".Length..]}\"");
        writer.Line("#include \"nested_learning.h\"");
        writer.Line();
        writer.Line("// Of structs that derive from another.");
        writer.Line("#pragma GCC diagnostic ignored \"-Winvalid-offsetof\"");
        writer.Line();
        Macros(writer, "static_assert");
        writer.Line();
        writer.Line("namespace nested_learning {");
        var evaluator = new Evaluator(cuda);
        foreach (SourceFile file in cuda)
        {
            foreach (Enumeration enumeration in file.Enumerations)
                Write(writer, enumeration, header, file);
            foreach (Struct s in file.Structs)
                Write(writer, s, layout);
            if (file.Constants.Any())
                writer.Line();
            foreach (Constant constant in file.Constants)
                writer.Line($"IS({constant.Name}, {evaluator.Value(constant.Value)});");
            foreach (Formula formula in file.Formulas)
                Write(writer, formula, evaluator);
        }

        writer.Line();
        writer.Line("}  // namespace nested_learning");
        return writer.ToString();
    }

    // Macros of whoever includes it, in the header's order: fields follow their struct, parameters their function.
    private static string Interface(SourceFile header)
    {
        var writer = new Writer(header.Path);
        foreach (Struct s in header.Structs)
        {
            writer.Line();
            writer.Line($"STRUCT({s.Name})");
            foreach (Field field in s.Fields)
            {
                string kind = field.Type.Pointers == 0 ? "VALUE" : field.Type.IsConst ? "INPUT" : "OUTPUT";
                writer.Line($"{kind}({s.Name}, {field.Type.Name}, {field.Name})");
            }
        }

        foreach (Function function in header.Functions)
        {
            writer.Line();
            writer.Line($"FUNCTION({function.Name})");
            foreach (Parameter parameter in function.Parameters)
            {
                TypeName type = parameter.Type;
                string written = $"{(type.IsConst ? "const " : "")}{type.Name}{new string('*', type.Pointers)}";
                writer.Line($"PARAMETER({written}, {parameter.Name})");
            }
        }

        return writer.ToString();
    }

    private static void Macros(Writer writer, string assert)
    {
        writer.Line($"#define ANEW \"{Anew}\"");
        writer.Line($"#define IS(expression, value) {assert}((expression) == (value), ANEW)");
        writer.Line("#define AT(type, field, offset) IS(offsetof(type, field), offset)");
    }

    private static void Write(Writer writer, Struct s, Layout layout)
    {
        writer.Line();
        writer.Line($"IS(sizeof({s.Name}), {layout.SizeOf(s.Name)});");
        foreach ((Field field, int offset) in layout.FieldsOf(s.Name))
            writer.Line($"AT({s.Name}, {field.Name}, {offset});");
    }

    // A CudaScanRead has values of nl_scan_read, by their names.
    private static void Write(Writer writer, Enumeration cuda, SourceFile header, SourceFile file)
    {
        if (!cuda.Name.StartsWith("Cuda", StringComparison.Ordinal))
            throw new SourceException(file.Path, cuda.Line, $"expected Cuda and the name of an enum of the header, not '{cuda.Name}'");
        string name = Names.HeaderEnumeration(cuda.Name);
        Enumeration of = header.Enumerations.FirstOrDefault(e => e.Name == name)
            ?? throw new SourceException(file.Path, cuda.Line, $"expected an enum {name} in {header.Path}, whose values '{cuda.Name}' has");
        string[] all = [.. of.Members.Select(m => m.Name)];
        writer.Line();
        foreach (Member member in cuda.Members)
        {
            Member value = of.Members.FirstOrDefault(m => "k" + Names.Member(m.Name, all) == member.Name)
                ?? throw new SourceException(file.Path, cuda.Line,
                    $"expected a value of {name} such as {string.Join(", ", all.Select(m => "k" + Names.Member(m, all)))}, not " +
                    $"'{member.Name}'");
            if (value.Value != member.Value)
                throw new SourceException(file.Path, cuda.Line,
                    $"expected {member.Name} to be {value.Value} as {value.Name} is, not {member.Value}");
            writer.Line($"IS(static_cast<int>({cuda.Name}::{member.Name}), {value.Name});");
        }
    }

    private static void Write(Writer writer, Formula formula, Evaluator evaluator)
    {
        writer.Line();
        for (int i = 0; i < s_tried.Length; i++)
        {
            int[] arguments = [.. formula.Parameters.Select((p, at) =>
                p.Type.Name == "bool" ? (i + at) % 2 : s_tried[(i + (5 * at)) % s_tried.Length])];
            IEnumerable<string> written = formula.Parameters.Select((p, at) =>
                p.Type.Name == "bool" ? arguments[at] != 0 ? "true" : "false" : $"{arguments[at]}");
            writer.Line($"IS({formula.Name}({string.Join(", ", written)}), {evaluator.Value(formula.Name, arguments)});");
        }
    }
}
