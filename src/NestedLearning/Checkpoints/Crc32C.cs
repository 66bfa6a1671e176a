using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;

namespace NestedLearning;

/// <summary>CRC-32C (Castagnoli) over bytes as they come. Finds every change confined to four neighbouring bytes.</summary>
internal struct Crc32C()
{
    /// <summary>The digits of <see cref="Text"/>.</summary>
    public const int TextLength = 8;

    private uint _state = uint.MaxValue;

    public readonly uint Value => ~_state;

    public readonly string Text => Value.ToString("x8", CultureInfo.InvariantCulture);

    public void Append(ReadOnlySpan<byte> bytes)
    {
        uint state = _state;
        for (; bytes.Length >= sizeof(ulong); bytes = bytes[sizeof(ulong)..])
            state = BitOperations.Crc32C(state, BinaryPrimitives.ReadUInt64LittleEndian(bytes));
        foreach (byte b in bytes)
            state = BitOperations.Crc32C(state, b);
        _state = state;
    }
}
