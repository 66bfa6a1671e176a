namespace NestedLearning.CommandLine.Streaming;

/// <summary>Decompresses deflate (RFC 1951) and stops right behind it.</summary>
/// <param name="input">The compressed bits.</param>
/// <param name="sink">Gets the contents piece by piece.</param>
internal sealed class Inflater(BitReader input, Action<ReadOnlyMemory<byte>> sink)
{
    private const int EndOfBlock = 256, Literals = 288, Distances = 32, LongestCode = 15;
    // Twice the farthest distance.
    private const int WindowLength = 1 << 16;

    // The order in which the lengths of the codes of lengths are given.
    private static readonly byte[] s_order = [16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15];
    private static readonly (int First, int Bits)[] s_lengths = Ranges(first: 3, alike: 4, codes: 28);
    private static readonly (int First, int Bits)[] s_distances = Ranges(first: 1, alike: 2, codes: 30);
    private static readonly HuffmanCode s_fixedLiterals = new(
        [.. Enumerable.Range(0, Literals).Select(i => (byte)(i < 144 ? 8 : i < 256 ? 9 : i < 280 ? 7 : 8))]);
    private static readonly HuffmanCode s_fixedDistances = new([.. Enumerable.Repeat((byte)5, Distances)]);

    private readonly byte[] _window = new byte[WindowLength];
    private int _next;
    private long _written;

    /// <exception cref="InvalidDataException">The data ends too early or is damaged.</exception>
    public void Run()
    {
        (_next, _written) = (0, 0);
        bool last;
        do
        {
            last = input.Bits(1) == 1;
            switch (input.Bits(2))
            {
                case 0:
                    Stored();
                    break;
                case 1:
                    Block(s_fixedLiterals, s_fixedDistances);
                    break;
                case 2:
                    (HuffmanCode literals, HuffmanCode distances) = Codes();
                    Block(literals, distances);
                    break;
                default:
                    throw Damaged();
            }
        }
        while (!last);
        Flush();
    }

    private void Stored()
    {
        input.SkipToByte();
        uint length = input.Bits(16), complement = input.Bits(16);
        if (length != (~complement & 0xFFFF))
            throw Damaged();
        for (; length > 0; length--)
            Put(input.Byte());
    }

    private void Block(HuffmanCode literals, HuffmanCode distances)
    {
        while (true)
        {
            int symbol = Next(literals);
            if (symbol < EndOfBlock)
            {
                Put((byte)symbol);
                continue;
            }

            if (symbol == EndOfBlock)
                return;
            int length = Value(s_lengths, symbol - EndOfBlock - 1), distance = Value(s_distances, Next(distances));
            if (distance > _written)
                throw Damaged();
            for (; length > 0; length--)
                Put(_window[(_next - distance) & (WindowLength - 1)]);
        }
    }

    private (HuffmanCode Literals, HuffmanCode Distances) Codes()
    {
        int literals = (int)input.Bits(5) + EndOfBlock + 1, distances = (int)input.Bits(5) + 1, given = (int)input.Bits(4) + 4;
        byte[] lengths = new byte[s_order.Length];
        for (int i = 0; i < given; i++)
            lengths[s_order[i]] = (byte)input.Bits(3);
        var codeOfLengths = new HuffmanCode(lengths);
        if (codeOfLengths.IsImpossible)
            throw Damaged();

        byte[] all = new byte[literals + distances];
        for (int i = 0; i < all.Length;)
        {
            int symbol = Next(codeOfLengths);
            (byte value, int times) = symbol switch
            {
                16 when i > 0 => (all[i - 1], 3 + (int)input.Bits(2)),
                17 => ((byte)0, 3 + (int)input.Bits(3)),
                18 => ((byte)0, 11 + (int)input.Bits(7)),
                <= LongestCode => ((byte)symbol, 1),
                _ => throw Damaged(),
            };
            if (times > all.Length - i)
                throw Damaged();
            all.AsSpan(i, times).Fill(value);
            i += times;
        }

        var codes = (new HuffmanCode(all.AsSpan(0, literals)), new HuffmanCode(all.AsSpan(literals)));
        return codes.Item1.IsImpossible || codes.Item2.IsImpossible ? throw Damaged() : codes;
    }

    private int Next(HuffmanCode code)
    {
        (int symbol, int length) = code.Find(input.Peek(code.Bits));
        if (length == 0)
            throw Damaged();
        input.Skip(length);
        return symbol;
    }

    private int Value((int First, int Bits)[] ranges, int index) =>
        index < ranges.Length ? ranges[index].First + (int)input.Bits(ranges[index].Bits) : throw Damaged();

    private void Put(byte value)
    {
        _window[_next++] = value;
        _written++;
        if (_next == WindowLength)
            Flush();
    }

    private void Flush()
    {
        sink(_window.AsMemory(0, _next));
        _next = 0;
    }

    private InvalidDataException Damaged() => new($"it is damaged at byte {input.Position}.");

    // Lengths and distances are ranges: some of one number, then as many of 2, 4, … numbers; the last length is 258 alone.
    private static (int First, int Bits)[] Ranges(int first, int alike, int codes)
    {
        var ranges = new List<(int, int)>();
        for (int code = 0; code < codes; code++)
        {
            int bits = Math.Max(0, code / alike - 1);
            ranges.Add((first, bits));
            first += 1 << bits;
        }

        if (alike == 4)
            ranges.Add((258, 0));
        return [.. ranges];
    }
}
