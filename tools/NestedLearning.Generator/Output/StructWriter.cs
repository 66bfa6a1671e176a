namespace NestedLearning.Generator;

/// <summary>A struct in C#, with the offset of every field.</summary>
internal static class StructWriter
{
    /// <param name="native">What it is called in C or C++.</param>
    /// <param name="fields">The names that a field's d may stand before.</param>
    /// <param name="nameOf">Structs' names in C#.</param>
    /// <param name="inherited">What the fields of the struct it derives from are called as one, or null.</param>
    public static void Write(
        Writer writer, Struct s, string native, string name, Layout layout, IReadOnlySet<string> fields, Func<string, string> nameOf,
        string? inherited = null)
    {
        bool isUnsafe = s.Fields.Any(f => f.Type.Pointers > 0);
        // ILGPU's kernels take structs without pointers too, and refuse explicit layouts.
        bool isExplicit = isUnsafe || name != native;
        writer.Line();
        writer.Summary("", s.Doc, native);
        writer.Line($"[StructLayout(LayoutKind.{(isExplicit ? $"Explicit, Size = {layout.SizeOf(s.Name)}" : "Sequential")})]");
        writer.Line($"internal {(isUnsafe ? "unsafe " : "")}partial struct {name}");
        writer.Line("{");
        bool isFirst = true;
        if (inherited is not null)
            Field(null, 0, nameOf(s.Base!), inherited);
        foreach ((Field field, int offset) in layout.FieldsOf(s.Name))
        {
            string type = field.Length is null ? Bindings.Type(field.Type, nameOf) : ArrayName(nameOf(field.Type.Name));
            Field(field.Doc, offset, type, Names.Field(field.Name, fields));
        }

        writer.Line("}");

        void Field(Doc? doc, int offset, string type, string fieldName)
        {
            if (!isFirst && doc is not null)
                writer.Line();
            isFirst = false;
            writer.Summary("    ", doc);
            string place = isExplicit ? $"[FieldOffset({offset})] " : "";
            writer.Line($"    {place}{(fieldName[0] == '_' ? "private readonly" : "public")} {type} {fieldName};");
        }
    }

    /// <summary>The type of an array of structs that is a field.</summary>
    public static string ArrayName(string element) => element + "Array";
}
