using System.Runtime.InteropServices;

namespace NestedLearning;

/// <summary>A run of an entry's bytes.</summary>
internal delegate void BytesAction(Span<byte> bytes);

/// <summary>
/// One tensor in host memory as its file has it, whatever its type and rank. Numbers are made of it when somebody asks for them.
/// </summary>
internal sealed class SafetensorsEntry
{
    private const int Piece = 1 << 20;
    private readonly long[] _axes;
    // Of the elements' size where that is known, so that a tensor may have as many elements as an array.
    private readonly Array? _data;
    private float[]? _floats;

    /// <summary>A tensor of the types that this library writes: float[] is F32, long[] is I64.</summary>
    public SafetensorsEntry(Shape shape, Array data)
    {
        Type = data.GetType() == typeof(float[]) ? SafetensorsType.Float32 : SafetensorsType.Int64;
        _axes = [.. shape.ToArray().Select(a => (long)a)];
        _data = data;
        Bytes = (long)data.Length * (Type.Bits / 8);
    }

    /// <summary>An F64 tensor of these bits.</summary>
    public SafetensorsEntry(Shape shape, ulong[] bits)
        : this(SafetensorsType.Float64, [.. shape.ToArray().Select(a => (long)a)], sizeof(double) * (long)bits.Length, bits)
    {
    }

    /// <summary>A tensor of a file, whose contents are to be read by <see cref="ForEachPiece"/>.</summary>
    public SafetensorsEntry(SafetensorsType type, long[] axes, long bytes)
    {
        Type = type;
        _axes = axes;
        Bytes = bytes;
        long elements = type.Bits < 16 ? bytes : bytes / (type.Bits / 8);
        if (elements <= Array.MaxLength)
            _data = Allocate(type, (int)elements);
    }

    private SafetensorsEntry(SafetensorsType type, long[] axes, long bytes, Array data) =>
        (Type, _axes, Bytes, _data) = (type, axes, bytes, data);

    public SafetensorsType Type { get; }

    public IReadOnlyList<long> Axes => _axes;

    public long Bytes { get; }

    /// <summary>Whether the contents are in memory; a tensor of more elements than an array can have is only known by its name.</summary>
    public bool IsHeld => _data is not null;

    /// <summary>The axes in words.</summary>
    public static string Text(IEnumerable<long> axes) => $"[{string.Join(", ", axes)}]";

    /// <exception cref="CheckpointException">It has more axes or elements than tensors have here.</exception>
    public Shape ShapeOf(string name)
    {
        if (_axes.Length > Shape.MaxRank)
            throw new CheckpointException($"Tensor '{name}' has {_axes.Length} axes, at most {Shape.MaxRank} are allowed.");
        UInt128 count = 1;
        foreach (long axis in _axes)
        {
            // An axis of 0 makes any product 0, so the others are bounded for themselves.
            count *= (ulong)Math.Max(axis, 1);
            if (count > (UInt128)Array.MaxLength)
                throw new CheckpointException($"Tensor '{name}' has shape {Text(_axes)}, at most {Array.MaxLength} elements are allowed.");
        }

        return new Shape([.. _axes.Select(a => (int)a)]);
    }

    /// <summary>The elements as float32, by the rule of <see cref="SafetensorsFile.Floats(string)"/>.</summary>
    /// <exception cref="CheckpointException">They have no float32 form.</exception>
    public float[] Floats(string name) => _floats ??= _data as float[] ?? SafetensorsNumbers.ToFloats(name, Type, Held(name));

    /// <summary>The elements as 64-bit integers.</summary>
    /// <exception cref="CheckpointException">They are no integers, or too large.</exception>
    public long[] Integers(string name) =>
        Type == SafetensorsType.Int64 ? (long[])Held(name) : SafetensorsNumbers.ToIntegers(name, Type, Held(name));

    /// <summary>The bits of the elements of an F64 tensor.</summary>
    /// <exception cref="CheckpointException">It is of another type, or too large.</exception>
    public ulong[] DoubleBits(string name) => Type == SafetensorsType.Float64
        ? (ulong[])Held(name)
        : throw new CheckpointException($"Tensor '{name}' is {Type.Name}, expected F64.");

    /// <summary>Calls with the elements' bytes a piece at a time: one span cannot hold those of a large tensor.</summary>
    public void ForEachPiece(BytesAction action)
    {
        if (_data is null)
        {
            byte[] skipped = new byte[Piece];
            for (long left = Bytes; left > 0; left -= Piece)
                action(skipped.AsSpan(0, (int)Math.Min(Piece, left)));
            return;
        }

        for (int start = 0; start < _data.Length; start += Piece)
        {
            int count = Math.Min(Piece, _data.Length - start);
            action(_data switch
            {
                float[] data => MemoryMarshal.AsBytes(data.AsSpan(start, count)),
                // Also long[]: arrays that differ in the sign of their elements are of each other's types.
                ulong[] data => MemoryMarshal.AsBytes(data.AsSpan(start, count)),
                uint[] data => MemoryMarshal.AsBytes(data.AsSpan(start, count)),
                ushort[] data => MemoryMarshal.AsBytes(data.AsSpan(start, count)),
                _ => ((byte[])_data).AsSpan(start, count),
            });
            if (Array.MaxLength - start < Piece)
                break;
        }
    }

    private static Array Allocate(SafetensorsType type, int elements) => type switch
    {
        { Name: "F32" } => GC.AllocateUninitializedArray<float>(elements),
        { Name: "I64" } => GC.AllocateUninitializedArray<long>(elements),
        { Bits: 64 } => GC.AllocateUninitializedArray<ulong>(elements),
        { Bits: 32 } => GC.AllocateUninitializedArray<uint>(elements),
        { Bits: 16 } => GC.AllocateUninitializedArray<ushort>(elements),
        _ => GC.AllocateUninitializedArray<byte>(elements),
    };

    private Array Held(string name) => _data
        ?? throw new CheckpointException($"Tensor '{name}' of shape {Text(_axes)} is too large to be read.");
}
