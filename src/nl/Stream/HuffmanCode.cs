namespace NestedLearning.CommandLine.Streaming;

/// <summary>A canonical Huffman code as deflate gives it, by the length of each symbol's code.</summary>
internal sealed class HuffmanCode
{
    private const int LengthBits = 4, LongestCode = 15;

    // Indexed by the next bits of the input, of which a symbol's code is the beginning: symbol · 16 + length; 0 is no code.
    private readonly ushort[] _table = [];

    /// <param name="lengths">For each symbol the length of its code, 0 to 15; 0: it has none.</param>
    public HuffmanCode(ReadOnlySpan<byte> lengths)
    {
        Span<int> counts = stackalloc int[LongestCode + 1], next = stackalloc int[LongestCode + 1];
        foreach (byte length in lengths)
        {
            counts[length]++;
            Bits = Math.Max(Bits, length);
        }

        // Codes of one length follow each other, behind all the shorter ones.
        counts[0] = 0;
        int left = 1;
        for (int length = 1; length <= LongestCode; length++)
        {
            next[length] = (next[length - 1] + counts[length - 1]) << 1;
            left = (left << 1) - counts[length];
            IsImpossible |= left < 0;
        }

        // Only where there is one symbol, or none, may bits be left that mean nothing.
        IsImpossible |= left > 0 && Bits > 1;

        if (IsImpossible)
            return;
        _table = new ushort[1 << Bits];
        for (int symbol = 0; symbol < lengths.Length; symbol++)
        {
            int length = lengths[symbol];
            if (length == 0)
                continue;
            // A code's first bit comes first, as the lowest of the index.
            for (int index = Reversed(next[length]++, length); index < _table.Length; index += 1 << length)
                _table[index] = (ushort)(symbol << LengthBits | length);
        }
    }

    /// <summary>The bits of the longest code.</summary>
    public int Bits { get; }

    /// <summary>Whether the lengths are of more codes than there can be, or of fewer than deflate allows.</summary>
    public bool IsImpossible { get; }

    /// <summary>The symbol whose code these bits begin with, and the code's length; 0 where there is none.</summary>
    public (int Symbol, int Length) Find(uint bits) => (_table[bits] >> LengthBits, _table[bits] & (1 << LengthBits) - 1);

    private static int Reversed(int code, int length)
    {
        int reversed = 0;
        for (; length > 0; length--, code >>= 1)
            reversed = reversed << 1 | code & 1;
        return reversed;
    }
}
