using System.Reflection;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Xunit;

namespace NestedLearning.Generator.Tests;

/// <summary>Types of the C# side beside the declarations that they are made from.</summary>
internal static class Compared
{
    public const BindingFlags Instance = BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;
    public const BindingFlags Static = BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly;

    /// <summary>Names and values of a class's int constants.</summary>
    public static Dictionary<string, int> Constants(Type type) => type.GetFields(Static)
        .Where(f => f.IsLiteral && f.FieldType == typeof(int))
        .ToDictionary(f => f.Name, f => (int)f.GetRawConstantValue()!);

    /// <summary>That a struct has the fields of a declaration, each at its offset, with its size and sort, and no other.</summary>
    /// <param name="inherited">The field that stands for those of the struct it derives from, or null.</param>
    public static void AssertStruct(Struct s, Type type, Layout layout, IReadOnlySet<string> names, string? inherited = null)
    {
        Assert.Equal(layout.SizeOf(s.Name), SizeOf(type));
        var expected = new List<(string Name, int Offset, int Size, string Sort)>();
        if (inherited is not null)
            expected.Add((inherited, 0, layout.SizeOf(s.Base!), "struct"));
        IReadOnlyList<(Field Field, int Offset)> fields = layout.FieldsOf(s.Name);
        for (int i = 0; i < fields.Count; i++)
        {
            (Field field, int offset) = fields[i];
            int end = i + 1 < fields.Count ? fields[i + 1].Offset : layout.SizeOf(s.Name);
            expected.Add((Names.Field(field.Name, names), offset, end - offset, Sort(field)));
        }

        IEnumerable<(string, int, int, string)> actual = type.GetFields(Instance)
            .Select(f => (f.Name, OffsetOf(type, f), SizeOf(f.FieldType), Sort(f.FieldType)));
        Assert.Equal(expected, actual.OrderBy(f => f.Item2));
    }

    public static int SizeOf(Type type) =>
        type.IsPointer ? IntPtr.Size : (int)typeof(Unsafe).GetMethod(nameof(Unsafe.SizeOf))!.MakeGenericMethod(type).Invoke(null, null)!;

    // What the compiler would not tell apart in a field of the same size.
    private static string Sort(Field field) => (field.Type.Pointers > 0 ? "*" : "") + field.Type.Name switch
    {
        "int32_t" => nameof(Int32),
        "uint32_t" => nameof(UInt32),
        "int64_t" => nameof(Int64),
        "uint64_t" => nameof(UInt64),
        "float" => nameof(Single),
        "double" => nameof(Double),
        "void" => "Void",
        string name => name.StartsWith("Cuda", StringComparison.Ordinal) ? nameof(Int32) : "struct",
    };

    private static string Sort(Type type) =>
        type.IsPointer ? "*" + Sort(type.GetElementType()!) : type.IsPrimitive || type == typeof(void) ? type.Name : "struct";

    private static int OffsetOf(Type type, FieldInfo field) =>
        field.GetCustomAttribute<FieldOffsetAttribute>() is { } offset ? offset.Value : (int)Marshal.OffsetOf(type, field.Name);
}
