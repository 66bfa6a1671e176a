namespace NestedLearning.Generator;

/// <summary>Something in a source that the generator does not take: where, and what it expected.</summary>
internal sealed class SourceException(string file, int line, string message) : Exception($"{file}:{line}: {message}");

/// <summary>A comment's lines, without its marks.</summary>
internal sealed record Doc(IReadOnlyList<string> Lines);

/// <summary>A type as it is written in front of a name.</summary>
/// <param name="Name">Without const and struct.</param>
/// <param name="Pointers">How many stars follow it.</param>
internal sealed record TypeName(string Name, int Pointers, bool IsConst);

internal abstract record Declaration(string Name, Doc? Doc, int Line);

/// <summary>A number by name: <c>#define</c> in the header, <c>constexpr int</c> in a .cuh.</summary>
internal sealed record Constant(string Name, Expression Value, Doc? Doc, int Line) : Declaration(Name, Doc, Line);

internal sealed record Enumeration(string Name, IReadOnlyList<Member> Members, Doc? Doc, int Line) : Declaration(Name, Doc, Line);

internal sealed record Member(string Name, int Value, Doc? Doc);

/// <param name="Base">The struct it derives from, or null.</param>
internal sealed record Struct(string Name, string? Base, IReadOnlyList<Field> Fields, Doc? Doc, int Line) : Declaration(Name, Doc, Line);

/// <param name="Length">The length of an array, or null.</param>
internal sealed record Field(string Name, TypeName Type, Expression? Length, Doc? Doc, int Line);

/// <summary>An exported function.</summary>
internal sealed record Function(string Name, TypeName Returns, IReadOnlyList<Parameter> Parameters, Doc? Doc, int Line)
    : Declaration(Name, Doc, Line);

internal sealed record Parameter(string Name, TypeName Type);

/// <summary>A function of whole numbers: <c>constexpr int</c> of a .cuh.</summary>
internal sealed record Formula(
    string Name, IReadOnlyList<Parameter> Parameters, IReadOnlyList<(string Name, Expression Value)> Locals, Expression Result, Doc? Doc,
    int Line)
    : Declaration(Name, Doc, Line);

/// <summary>Declarations between two headings; a .cuh is one section without a title.</summary>
internal sealed record Section(string Title, IReadOnlyList<Declaration> Declarations);

/// <summary>A parsed file.</summary>
/// <param name="Path">From the repository's root, with slashes.</param>
/// <param name="Head">What its first comment says.</param>
internal sealed record SourceFile(string Path, Doc? Head, IReadOnlyList<string> Includes, IReadOnlyList<Section> Sections)
{
    public IEnumerable<Declaration> Declarations => Sections.SelectMany(s => s.Declarations);

    public IEnumerable<Struct> Structs => Declarations.OfType<Struct>();

    public IEnumerable<Enumeration> Enumerations => Declarations.OfType<Enumeration>();

    public IEnumerable<Constant> Constants => Declarations.OfType<Constant>();

    public IEnumerable<Function> Functions => Declarations.OfType<Function>();

    public IEnumerable<Formula> Formulas => Declarations.OfType<Formula>();
}
