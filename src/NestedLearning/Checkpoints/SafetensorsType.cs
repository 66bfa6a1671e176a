namespace NestedLearning;

/// <summary>An element type of the safetensors format.</summary>
/// <param name="Name">As files spell it.</param>
/// <param name="Bits">The bits of an element; 0 for a type that is not known here, whose tensors have the bytes the file says.</param>
internal readonly record struct SafetensorsType(string Name, int Bits)
{
    // Types of less than a byte are packed: their tensors take a whole number of bytes all the same.
    private static readonly Dictionary<string, int> s_bits = new(StringComparer.Ordinal)
    {
        ["BOOL"] = 8, ["U8"] = 8, ["I8"] = 8, ["I16"] = 16, ["U16"] = 16, ["I32"] = 32, ["U32"] = 32, ["I64"] = 64, ["U64"] = 64,
        ["F4"] = 4, ["F6_E2M3"] = 6, ["F6_E3M2"] = 6, ["F8_E4M3"] = 8, ["F8_E5M2"] = 8, ["F8_E8M0"] = 8, ["F8_E4M3FNUZ"] = 8,
        ["F8_E5M2FNUZ"] = 8, ["F16"] = 16, ["BF16"] = 16, ["F32"] = 32, ["F64"] = 64, ["C64"] = 64,
    };

    /// <summary>The types of the format.</summary>
    public static IReadOnlyCollection<string> Known => s_bits.Keys;

    public static SafetensorsType Float32 { get; } = Of("F32");

    public static SafetensorsType Float64 { get; } = Of("F64");

    public static SafetensorsType Int64 { get; } = Of("I64");

    /// <summary>Whether elements are floating-point numbers that float32 can stand for.</summary>
    public bool IsFloat => Name is "F32" or "F64" or "F16" or "BF16";

    public static SafetensorsType Of(string name) => new(name, s_bits.GetValueOrDefault(name));
}
