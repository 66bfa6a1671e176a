using System.Runtime.InteropServices;

namespace NestedLearning;

/// <summary>A run of an entry's bytes.</summary>
internal delegate void BytesAction(Span<byte> bytes);

/// <summary>One tensor in host memory: float[] (F32) or long[] (I64).</summary>
internal sealed record SafetensorsEntry(Shape Shape, Array Data)
{
    public bool IsFloat => Data is float[];

    public string Type => IsFloat ? "F32" : "I64";

    public long Bytes => (long)Data.Length * (IsFloat ? sizeof(float) : sizeof(long));

    /// <summary>Calls with the elements' bytes a piece at a time: one span cannot hold those of a large tensor.</summary>
    public void ForEachPiece(BytesAction action)
    {
        const int Piece = 1 << 20;
        for (long start = 0; start < Data.Length; start += Piece)
        {
            int count = (int)Math.Min(Piece, Data.Length - start);
            if (Data is float[] floats)
                action(MemoryMarshal.AsBytes(floats.AsSpan((int)start, count)));
            else
                action(MemoryMarshal.AsBytes(((long[])Data).AsSpan((int)start, count)));
        }
    }
}
