using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using NestedLearning.Native;
using Xunit;

namespace NestedLearning.Generator.Tests;

/// <summary>The header, the bindings and the built library declare the same things. Nothing is named here: all is found in them.</summary>
public sealed partial class HeaderTests
{
    private static readonly Assembly s_bindings = typeof(Kernels).Assembly;

    private static string Text => File.ReadAllText(Path.Combine(Sources.Root, Outputs.Header));

    /// <summary>Nothing that looks like a declaration escapes the parser.</summary>
    [Fact]
    public void Parser_FindsWhatPatternsFind()
    {
        SourceFile header = Sources.Header;
        Assert.Equal(Matches(FunctionPattern()), header.Functions.Select(f => f.Name).Order(StringComparer.Ordinal));
        Assert.Equal(Matches(StructPattern()), header.Structs.Select(s => s.Name).Order(StringComparer.Ordinal));
        Assert.Equal(
            ConstantPattern().Matches(Text).Select(m => (m.Groups[1].Value, int.Parse(m.Groups[2].Value, CultureInfo.InvariantCulture))),
            header.Declarations.SelectMany(d => d switch
            {
                Constant { Value: Number n } c => [(c.Name, n.Value)],
                Enumeration e => e.Members.Select(m => (m.Name, m.Value)),
                _ => Enumerable.Empty<(string, int)>(),
            }));
    }

    [Fact]
    public void Constants_AreTheHeaders() => Assert.Equal(
        Sources.Header.Constants.Select(c => (Names.Constant(c.Name), ((Number)c.Value).Value)).Order(),
        Compared.Constants(typeof(Kernels)).Select(c => (c.Key, c.Value)).Order());

    [Fact]
    public void EnumValues_AreTheHeaders()
    {
        Assert.NotEmpty(Sources.Header.Enumerations);
        foreach (Enumeration enumeration in Sources.Header.Enumerations)
        {
            Type type = s_bindings.GetType($"{typeof(Kernels).Namespace}.{Names.Enumeration(enumeration.Name)}", throwOnError: true)!;
            string[] all = [.. enumeration.Members.Select(m => m.Name)];
            Assert.Equal(
                enumeration.Members.Select(m => (Names.Member(m.Name, all), m.Value)).Order(),
                Compared.Constants(type).Select(c => (c.Key, c.Value)).Order());
        }
    }

    /// <summary>Users' enums, whose values cross as they are.</summary>
    [Fact]
    public void PublicEnums_HaveTheHeadersValues()
    {
        int compared = 0;
        Type[] publicEnums = [.. typeof(Tensor).Assembly.GetExportedTypes().Where(type => type.IsEnum)];
        foreach (Enumeration enumeration in Sources.Header.Enumerations)
        {
            string name = Names.Enumeration(enumeration.Name);
            if (Array.Find(publicEnums, type => type.Name == name) is not { } type)
                continue;
            string[] all = [.. enumeration.Members.Select(m => m.Name)];
            Dictionary<int, string> values = enumeration.Members.ToDictionary(m => m.Value, m => Names.Member(m.Name, all));
            foreach (object value in Enum.GetValues(type))
            {
                // DotProduct is Dot.
                Assert.StartsWith(values[(int)value], value.ToString(), StringComparison.Ordinal);
                compared++;
            }
        }

        Assert.True(compared > 10, $"only {compared} values were compared");
    }

    [Fact]
    public void Structs_AreTheHeaders_FieldByField()
    {
        var layout = new Layout([Sources.Header]);
        Assert.Equal(Sources.Header.Structs.Select(s => s.Name), Kernels.StructSizes.Select(s => s.Name));
        foreach (Struct s in Sources.Header.Structs)
        {
            Type type = s_bindings.GetType($"{typeof(Kernels).Namespace}.{Names.Struct(s.Name)}", throwOnError: true)!;
            Compared.AssertStruct(s, type, layout, Bindings.FieldsOf(Sources.Header, s));
        }
    }

    [Fact]
    public void Functions_AreTheHeaders_ParameterByParameter()
    {
        Dictionary<string, MethodInfo> bound = typeof(Kernels).GetMethods(Compared.Static)
            .Where(m => m.GetCustomAttribute<LibraryImportAttribute>() is not null)
            .ToDictionary(m => m.GetCustomAttribute<LibraryImportAttribute>()!.EntryPoint!);
        Assert.Equal(Sources.Header.Functions.Select(f => f.Name).Order(StringComparer.Ordinal), bound.Keys.Order(StringComparer.Ordinal));
        foreach (Function function in Sources.Header.Functions)
        {
            MethodInfo method = bound[function.Name];
            Assert.Equal(
                // A text that is returned stays the library's.
                function.Parameters.Select(p => $"{CSharp(p.Type)} {Names.Camel(p.Name)}")
                    .Prepend(function.Returns.Name == "char" ? "Byte*" : CSharp(function.Returns)),
                method.GetParameters().Select(p => $"{p.ParameterType.Name} {p.Name}").Prepend(method.ReturnType.Name));
        }
    }

    [Fact]
    public void Exports_AreTheHeadersFunctions()
    {
        string library = RequireLibrary();
        if (!library.EndsWith(".so", StringComparison.Ordinal))
            Assert.Skip("The exports are read from ELF files.");
        Assert.Equal(Sources.Header.Functions.Select(f => f.Name).Order(StringComparer.Ordinal), ElfExports.Read(library));
    }

    [Fact]
    public void Library_HasTheStructsSizes()
    {
        RequireLibrary();
        foreach (Struct s in Sources.Header.Structs)
            Assert.Equal((uint)new Layout([Sources.Header]).SizeOf(s.Name), Kernels.StructSize(s.Name));
    }

    private static string RequireLibrary()
    {
        if (KernelLibrary.Failure is string failure)
            Sources.Missing(failure);
        return LibraryLoader.Candidates().First(File.Exists);
    }

    private static IEnumerable<string> Matches(Regex pattern) =>
        pattern.Matches(Text).Select(m => m.Groups[1].Value).Order(StringComparer.Ordinal);

    // A type's name by reflection.
    private static string CSharp(TypeName type) => type switch
    {
        { Name: "char", IsConst: true } => "String",
        { Name: "int32_t" } => "Int32",
        { Name: "uint32_t" } => "UInt32",
        { Name: "int64_t" } => "Int64",
        { Name: "uint64_t" } => "UInt64",
        { Name: "float" } => "Single",
        { Name: "double" } => "Double",
        _ => Names.Struct(type.Name),
    } + new string('*', type.Name == "char" ? 0 : type.Pointers);

    [GeneratedRegex(@"NL_API\s[^;(]*?\b(nl_\w+)\(")]
    private static partial Regex FunctionPattern();

    [GeneratedRegex(@"typedef struct (nl_\w+)")]
    private static partial Regex StructPattern();

    [GeneratedRegex(@"(?:#define |^\s+|[{,] )(NL_[A-Z0-9_]+) (?:= )?(\d+)", RegexOptions.Multiline)]
    private static partial Regex ConstantPattern();
}
