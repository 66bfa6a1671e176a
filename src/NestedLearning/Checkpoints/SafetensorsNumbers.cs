using System.Numerics.Tensors;
using System.Runtime.InteropServices;

namespace NestedLearning;

/// <summary>The numbers of tensors whose types this library does not write.</summary>
internal static class SafetensorsNumbers
{
    private const string FloatTypes = "F32, F64, F16, BF16 or integers";
    private const string IntegerTypes = "integers";

    /// <summary>
    /// F16 and BF16 are float32 numbers. F64 rounds to the nearest, of two the even one; what would become infinite by that is an
    /// error. An integer that float32 does not have is an error; up to 2²⁴ it has all.
    /// </summary>
    /// <exception cref="CheckpointException">The type has no such form, or a number is out of range.</exception>
    public static float[] ToFloats(string name, SafetensorsType type, Array data)
    {
        switch (type.Name)
        {
            case "BF16":
                return FromBFloat16((ushort[])data);
            case "F16":
                return FromHalf((ushort[])data);
            case "F64":
                return Convert<ulong, float>(data, (bits, i) => Rounded(name, BitConverter.UInt64BitsToDouble(bits), i));
            case "I64":
                return Convert<long, float>(data, (value, i) => Exact(name, value, i));
            case "U64":
                return Convert<ulong, float>(data, (value, i) => Exact(name, value, i));
            default:
                return Convert<long, float>(SmallIntegers(name, type, data, FloatTypes), (value, i) => Exact(name, value, i));
        }
    }

    /// <exception cref="CheckpointException">The type is not one of integers, or a number is beyond 64 bits with a sign.</exception>
    public static long[] ToIntegers(string name, SafetensorsType type, Array data) => type.Name == "U64"
        ? Convert<ulong, long>(data, (value, i) => value <= long.MaxValue ? (long)value
            : throw new CheckpointException($"Tensor '{name}' has {value} at {i}, expected at most {long.MaxValue}."))
        : SmallIntegers(name, type, data, IntegerTypes);

    private static long[] SmallIntegers(string name, SafetensorsType type, Array data, string expected) => type.Name switch
    {
        "I8" => Convert<byte, long>(data, (bits, _) => (sbyte)bits),
        "U8" => Convert<byte, long>(data, (bits, _) => bits),
        "I16" => Convert<ushort, long>(data, (bits, _) => (short)bits),
        "U16" => Convert<ushort, long>(data, (bits, _) => bits),
        "I32" => Convert<uint, long>(data, (bits, _) => (int)bits),
        "U32" => Convert<uint, long>(data, (bits, _) => bits),
        _ => throw new CheckpointException($"Tensor '{name}' is {type.Name}, expected {expected}."),
    };

    // Whole models are of these two types.
    private static float[] FromBFloat16(ushort[] bits)
    {
        float[] floats = GC.AllocateUninitializedArray<float>(bits.Length);
        for (int i = 0; i < floats.Length; i++)
            floats[i] = BitConverter.UInt32BitsToSingle((uint)bits[i] << 16);
        return floats;
    }

    private static float[] FromHalf(ushort[] bits)
    {
        float[] floats = GC.AllocateUninitializedArray<float>(bits.Length);
        TensorPrimitives.ConvertToSingle(MemoryMarshal.Cast<ushort, Half>(bits), floats);
        return floats;
    }

    private static float Rounded(string name, double value, int index)
    {
        float rounded = (float)value;
        return float.IsInfinity(rounded) && double.IsFinite(value)
            ? throw new CheckpointException($"Tensor '{name}' has {Readable.Number(value)} at {index}, expected at most " +
                $"{Readable.Number(float.MaxValue)} as float32 has it.")
            : rounded;
    }

    private static float Exact(string name, Int128 value, int index)
    {
        float rounded = (float)value;
        return (Int128)rounded == value ? rounded
            : throw new CheckpointException($"Tensor '{name}' has {value} at {index}, which float32 does not have; it has all integers " +
                "up to 16777216.");
    }

    private static TTo[] Convert<TFrom, TTo>(Array data, Func<TFrom, int, TTo> convert)
    {
        var from = (TFrom[])data;
        var to = new TTo[from.Length];
        for (int i = 0; i < to.Length; i++)
            to[i] = convert(from[i], i);
        return to;
    }
}
