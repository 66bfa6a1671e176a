namespace NestedLearning.CommandLine.Streaming;

/// <summary>Bits of a stream, of each byte the lowest first.</summary>
internal sealed class BitReader
{
    private readonly Stream _source;
    private readonly byte[] _buffer = new byte[1 << 16];
    private int _next;
    private int _count;
    private long _read;
    private ulong _bits;
    private int _bitCount;

    /// <param name="beginning">What has been read of the source already.</param>
    /// <param name="source">The rest.</param>
    public BitReader(ReadOnlySpan<byte> beginning, Stream source)
    {
        _source = source;
        beginning.CopyTo(_buffer);
        _read = _count = beginning.Length;
    }

    /// <summary>Bytes consumed.</summary>
    public long Position => _read - (_count - _next) - _bitCount / 8;

    /// <summary>The exception for data that ends where more is expected.</summary>
    public static InvalidDataException CutOff(long position) => new($"it ends too early, after {position} bytes: it was cut off.");

    /// <summary>The next byte, at a byte's beginning; −1 at the end.</summary>
    public int ByteOrEnd()
    {
        if (_bitCount == 0)
            return NextOrEnd();
        return (int)Bits(8);
    }

    /// <summary>The next byte, at a byte's beginning.</summary>
    public byte Byte() => (byte)Bits(8);

    /// <summary>The next four bytes, the lowest first.</summary>
    public uint UInt32() => Bits(16) | Bits(16) << 16;

    /// <summary>The next bits, at most 16.</summary>
    public uint Bits(int count)
    {
        uint bits = Peek(count);
        Skip(count);
        return bits;
    }

    /// <summary>The next bits, at most 16, which stay.</summary>
    public uint Peek(int count)
    {
        while (_bitCount < count)
        {
            int next = NextOrEnd();
            if (next < 0)
                throw CutOff(_read);
            _bits |= (ulong)next << _bitCount;
            _bitCount += 8;
        }

        return (uint)_bits & (1u << count) - 1;
    }

    /// <summary>Passes bits that were peeked at.</summary>
    public void Skip(int count)
    {
        _bits >>= count;
        _bitCount -= count;
    }

    /// <summary>Passes what is left of a byte.</summary>
    public void SkipToByte() => Skip(_bitCount % 8);

    private int NextOrEnd()
    {
        if (_next == _count)
        {
            _count = _source.Read(_buffer);
            _next = 0;
            _read += _count;
            if (_count == 0)
                return -1;
        }

        return _buffer[_next++];
    }
}
