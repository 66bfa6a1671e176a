namespace NestedLearning.Generator;

/// <summary>The C header as C#: a file for each of its sections, and the table of struct sizes.</summary>
internal static class Bindings
{
    private static readonly Dictionary<string, string> s_types = new()
    {
        ["int32_t"] = "int",
        ["uint32_t"] = "uint",
        ["int64_t"] = "long",
        ["uint64_t"] = "ulong",
        ["float"] = "float",
        ["double"] = "double",
        ["void"] = "void",
        ["char"] = "byte",
        ["int"] = "int",
        ["bool"] = "bool",
    };

    /// <summary>A type in C#; pointers to structs of the header or of a .cuh are to theirs.</summary>
    public static string Type(TypeName type, Func<string, string> ofStruct) =>
        (s_types.TryGetValue(type.Name, out string? scalar) ? scalar : ofStruct(type.Name)) + new string('*', type.Pointers);

    public static IEnumerable<(string Path, string Text)> Files(SourceFile header, Layout layout)
    {
        foreach (Section section in header.Sections)
            yield return ($"{Outputs.BindingsFolder}/{FileName(section)}.cs", File(header, section, layout));
        yield return ($"{Outputs.BindingsFolder}/StructSizes.cs", Sizes(header));
    }

    private static string FileName(Section section)
    {
        const string Suffix = "Arguments";
        string? first = section.Declarations.OfType<Struct>().Select(s => Names.Struct(s.Name))
            .FirstOrDefault(n => n.EndsWith(Suffix, StringComparison.Ordinal));
        return first is null ? string.Concat(section.Title.TakeWhile(char.IsAsciiLetter)) : first[..^Suffix.Length];
    }

    private static string File(SourceFile header, Section section, Layout layout)
    {
        var writer = new Writer(header.Path);
        if (section.Declarations.Any(d => d is Struct or Function))
        {
            writer.Line("using System.Runtime.InteropServices;");
            writer.Line();
        }

        writer.Line("namespace NestedLearning.Native;");
        foreach (Enumeration enumeration in section.Declarations.OfType<Enumeration>())
            Write(writer, enumeration);
        foreach (Struct s in section.Declarations.OfType<Struct>())
            StructWriter.Write(writer, s, s.Name, Names.Struct(s.Name), layout, FieldsOf(header, s), Names.Struct);
        Declaration[] members = [.. section.Declarations.Where(d => d is Constant or Function)];
        if (members.Length > 0)
        {
            writer.Line();
            writer.Line("internal static unsafe partial class Kernels");
            writer.Line("{");
            for (int i = 0; i < members.Length; i++)
            {
                if (i > 0)
                    writer.Line();
                Write(writer, members[i], header);
            }

            writer.Line("}");
        }

        return writer.ToString();
    }

    /// <summary>The fields of an operation: a struct's own, and of gradients those that they are the gradients of.</summary>
    public static HashSet<string> FieldsOf(SourceFile file, Struct s)
    {
        string? arguments = s.Name.EndsWith("_gradients", StringComparison.Ordinal)
            ? s.Name.Replace("_gradients", "_arguments", StringComparison.Ordinal) : s.Base;
        return [.. s.Fields.Concat(file.Structs.Where(o => o.Name == arguments).SelectMany(o => o.Fields)).Select(f => f.Name)];
    }

    // Constants rather than an enum: they are values of int fields, and of the enums that users see.
    private static void Write(Writer writer, Enumeration enumeration)
    {
        writer.Line();
        writer.Summary("", enumeration.Doc, enumeration.Name);
        writer.Line($"internal static partial class {Names.Enumeration(enumeration.Name)}");
        writer.Line("{");
        for (int i = 0; i < enumeration.Members.Count; i++)
        {
            Member member = enumeration.Members[i];
            if (i > 0)
                writer.Line();
            writer.Summary("    ", member.Doc, member.Name);
            writer.Line($"    public const int {Names.Member(member.Name, enumeration.Members.Select(m => m.Name))} = {member.Value};");
        }

        writer.Line("}");
    }

    private static void Write(Writer writer, Declaration declaration, SourceFile header)
    {
        if (declaration is Constant { Value: Number number })
        {
            writer.Summary("    ", declaration.Doc, declaration.Name);
            writer.Line($"    public const int {Names.Constant(declaration.Name)} = {number.Value};");
        }
        else if (declaration is Function function)
        {
            writer.Summary("    ", function.Doc);
            bool hasText = function.Parameters.Any(p => p.Type.Name == "char");
            writer.Line("    [LibraryImport(Library, EntryPoint = " +
                $"\"{function.Name}\"{(hasText ? ", StringMarshalling = StringMarshalling.Utf8" : "")})]");
            IEnumerable<string> parameters = function.Parameters.Select(p => $"{ParameterType(p.Type)} {Names.Camel(p.Name)}");
            string result = Type(function.Returns, Names.Struct);
            writer.Code("    ", $"public static partial {result} " +
                $"{Names.Function(function.Name, header)}({Writer.Break}{string.Join($", {Writer.Break}", parameters)});");
        }
    }

    private static string ParameterType(TypeName type) => type.Name == "char" ? "string" : Type(type, Names.Struct);

    private static string Sizes(SourceFile header)
    {
        var writer = new Writer(header.Path);
        writer.Line("namespace NestedLearning.Native;");
        writer.Line();
        writer.Line("internal static unsafe partial class Kernels");
        writer.Line("{");
        writer.Line("    /// <summary>Every struct that crosses, by its native name.</summary>");
        writer.Line("    public static IReadOnlyList<(string Name, int Size)> StructSizes { get; } =");
        writer.Line("    [");
        foreach (Struct s in header.Structs)
            writer.Line($"        (\"{s.Name}\", sizeof({Names.Struct(s.Name)})),");
        writer.Line("    ];");
        writer.Line("}");
        return writer.ToString();
    }
}
