namespace NestedLearning.Generator;

/// <summary>Where a struct's fields lie, by the rules of 64-bit C. Padding is an error: it would be a field that nobody named.</summary>
internal sealed class Layout
{
    private readonly Dictionary<string, (int Size, int Alignment)> _types = new()
    {
        ["int32_t"] = (4, 4),
        ["uint32_t"] = (4, 4),
        ["int64_t"] = (8, 8),
        ["uint64_t"] = (8, 8),
        ["float"] = (4, 4),
        ["double"] = (8, 8),
    };

    private readonly Dictionary<string, IReadOnlyList<(Field Field, int Offset)>> _fields = [];

    public Layout(IReadOnlyList<SourceFile> files)
    {
        var evaluator = new Evaluator(files);
        foreach (SourceFile file in files)
        {
            foreach (Enumeration enumeration in file.Enumerations)
                _types.Add(enumeration.Name, (4, 4));
            foreach (Struct s in file.Structs)
                Add(file, s, evaluator);
        }
    }

    public int SizeOf(string type) => _types[type].Size;

    /// <summary>A struct's own fields, without those of the struct it derives from.</summary>
    public IReadOnlyList<(Field Field, int Offset)> FieldsOf(string type) => _fields[type];

    private void Add(SourceFile file, Struct s, Evaluator evaluator)
    {
        (int at, int alignment) = s.Base is null ? (0, 1) : _types[s.Base];
        var fields = new List<(Field, int)>();
        foreach (Field field in s.Fields)
        {
            (int size, int own) = field.Type.Pointers > 0 ? (8, 8) : _types[field.Type.Name];
            if (at % own != 0)
                throw new SourceException(file.Path, field.Line,
                    $"expected no padding before '{field.Name}', which would begin at byte {at}; a reserved field says what is there");
            fields.Add((field, at));
            at = checked(at + (size * (field.Length is null ? 1 : evaluator.Value(field.Length))));
            alignment = Math.Max(alignment, own);
        }

        if (at % alignment != 0)
            throw new SourceException(file.Path, s.Fields[^1].Line,
                $"expected no padding after '{s.Fields[^1].Name}', with which {s.Name} has {at} bytes; " +
                "a reserved field says what is there");
        _types.Add(s.Name, (at, alignment));
        _fields.Add(s.Name, fields);
    }
}
