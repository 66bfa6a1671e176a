namespace NestedLearning.CommandLine.Streaming;

/// <summary>
/// Decompresses gzip (RFC 1952) and checks all of it: that every member ends, that its checksum and length are those of its
/// contents, and that nothing but zeros stands behind the last. <see cref="System.IO.Compression.GZipStream"/> takes what is cut
/// off as whole, ignores what stands behind, and does not say where a member ends; SharpZipLib 1.4.2's decoder does, and ends in
/// errors of indices and of arithmetic on damaged codes.
/// </summary>
internal sealed class GzipReader
{
    private const byte FirstMagic = 0x1F, SecondMagic = 0x8B, Deflate = 8;
    private const int HeaderChecksum = 2, Extra = 4, Name = 8, Comment = 16, Reserved = 0xE0;
    private static readonly uint[] s_crc = [.. Enumerable.Range(0, 256).Select(i => CrcOf((uint)i))];

    private readonly BitReader _input;
    private readonly Inflater _inflater;
    private readonly Action<ReadOnlyMemory<byte>> _sink;
    private uint _checksum;
    private uint _length;

    private GzipReader(BitReader input, Action<ReadOnlyMemory<byte>> sink)
    {
        _input = input;
        _sink = sink;
        _inflater = new Inflater(_input, Take);
    }

    /// <summary>Whether these are the first bytes of gzip.</summary>
    public static bool IsGzip(ReadOnlySpan<byte> beginning) => beginning is [FirstMagic, SecondMagic, ..];

    /// <summary>Decompresses to the end; the sink gets the contents piece by piece.</summary>
    /// <param name="beginning">What has been read of the source already.</param>
    /// <param name="source">The rest.</param>
    /// <param name="sink">Gets pieces that are only there until it returns.</param>
    /// <exception cref="InvalidDataException">The data is not gzip, ends too early, is damaged, or has something behind it. The
    /// sink may have had some of the contents.</exception>
    public static void Decompress(ReadOnlySpan<byte> beginning, Stream source, Action<ReadOnlyMemory<byte>> sink)
    {
        var reader = new GzipReader(new BitReader(beginning, source), sink);
        for (int member = 1; reader.BeginsMember(member == 1); member++)
            reader.Member(member);
    }

    // Behind the last member there may be zeros, with which tapes and blocks are filled up.
    private bool BeginsMember(bool first)
    {
        long begin = _input.Position;
        int magic = _input.ByteOrEnd();
        if (magic < 0 && !first)
            return false;
        int next = magic == FirstMagic ? _input.ByteOrEnd() : 0;
        if (magic < 0 || next < 0)
            throw BitReader.CutOff(_input.Position);
        if (magic == FirstMagic && next == SecondMagic)
            return true;
        if (first)
            throw new InvalidDataException("it is not compressed by gzip.");
        bool zeros = magic == 0;
        for (int value; (value = _input.ByteOrEnd()) >= 0;)
            zeros &= value == 0;
        return !zeros ? throw new InvalidDataException($"its compressed data ends at byte {begin}, and behind that stand " +
            $"{_input.Position - begin} bytes that are not gzip.") : false;
    }

    private void Member(int member)
    {
        string of = member == 1 ? "" : $" of part {member}";
        Header(of);
        (_checksum, _length) = (uint.MaxValue, 0);
        _inflater.Run();
        _input.SkipToByte();
        uint checksum = _input.UInt32(), length = _input.UInt32();
        if (checksum != ~_checksum)
            throw new InvalidDataException($"its checksum{of} is {checksum:x8}, but its contents have {~_checksum:x8}: it is damaged.");
        if (length != _length)
            throw new InvalidDataException($"its length{of} should be {length} bytes, but its contents have {_length}: it is damaged.");
    }

    private void Header(string of)
    {
        uint crc = Crc(Crc(uint.MaxValue, FirstMagic), SecondMagic);
        byte method = Next(), flags = Next();
        if (method != Deflate || (flags & Reserved) != 0)
            throw new InvalidDataException($"its header{of} has method {method} and flags {flags:x2}, which gzip does not have.");
        for (int i = 0; i < 6; i++)
            Next();
        if ((flags & Extra) != 0)
        {
            for (int left = Next() | Next() << 8; left > 0; left--)
                Next();
        }

        foreach (int text in (ReadOnlySpan<int>)[Name, Comment])
        {
            while ((flags & text) != 0 && Next() != 0)
            {
            }
        }

        uint expected = (ushort)~crc;
        if ((flags & HeaderChecksum) != 0 && _input.Bits(16) != expected)
            throw new InvalidDataException($"the checksum of its header{of} is wrong: it is damaged.");

        byte Next()
        {
            byte value = _input.Byte();
            crc = Crc(crc, value);
            return value;
        }
    }

    private void Take(ReadOnlyMemory<byte> contents)
    {
        uint crc = _checksum;
        foreach (byte value in contents.Span)
            crc = Crc(crc, value);
        _checksum = crc;
        _length += (uint)contents.Length;
        _sink(contents);
    }

    private static uint Crc(uint crc, byte value) => s_crc[(byte)(crc ^ value)] ^ crc >> 8;

    private static uint CrcOf(uint value)
    {
        const uint Polynomial = 0xEDB88320;
        for (int bit = 0; bit < 8; bit++)
            value = (value & 1) != 0 ? value >> 1 ^ Polynomial : value >> 1;
        return value;
    }
}
