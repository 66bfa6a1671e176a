using System.IO.Compression;
using System.Text;
using NestedLearning.CommandLine.Tests;
using Xunit;

namespace NestedLearning.CommandLine.Streaming.Tests;

public sealed class GzipReaderTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();

    public static TheoryData<string> Contents => ["empty", "letter", "text", "zeros", "noise", "long"];

    public void Dispose() => _folder.Dispose();

    [Theory]
    [MemberData(nameof(Contents))]
    public void WhatTheSystemCompresses_IsDecompressed(string contents)
    {
        byte[] text = Content(contents);
        foreach (CompressionLevel level in Enum.GetValues<CompressionLevel>())
        {
            byte[] compressed = Compress(text, level);
            Assert.Equal(text, Decompress(compressed));
            // However much of it has been read before.
            Assert.Equal(text, Decompress(compressed, already: 10));
        }
    }

    [Theory]
    [InlineData(ZLibCompressionStrategy.Fixed)]
    [InlineData(ZLibCompressionStrategy.HuffmanOnly)]
    [InlineData(ZLibCompressionStrategy.RunLengthEncoding)]
    [InlineData(ZLibCompressionStrategy.Filtered)]
    public void EveryKindOfBlock_IsDecompressed(ZLibCompressionStrategy strategy)
    {
        // Where nothing is written the system makes no file at all.
        foreach (string contents in Contents.Select(c => c.Data).Where(c => c != "empty"))
        {
            byte[] text = Content(contents);
            using var compressed = new MemoryStream();
            var options = new ZLibCompressionOptions { CompressionLevel = 6, CompressionStrategy = strategy };
            using (var gzip = new GZipStream(compressed, options, leaveOpen: true))
                gzip.Write(text);
            Assert.Equal(text, Decompress(compressed.ToArray()));
        }
    }

    [Fact]
    public void Members_FollowEachOther()
    {
        byte[] one = Compress("one "u8), empty = Compress([]), two = Compress("two"u8);
        Assert.Equal("one two"u8.ToArray(), Decompress([.. one, .. empty, .. two]));
        // Blocks of tapes are filled up with zeros.
        Assert.Equal("one two"u8.ToArray(), Decompress([.. one, .. two, .. new byte[512]]));
    }

    [Fact]
    public void HeaderWithEveryField_IsRead()
    {
        byte[] plain = Compress("text"u8);
        byte[] header = [0x1F, 0x8B, 8, 2 | 4 | 8 | 16, 1, 2, 3, 4, 0, 255, 3, 0, 7, 8, 9, .. "name\0"u8, .. "comment\0"u8];
        ushort crc = (ushort)Crc(header);
        byte[] whole = [.. header, (byte)crc, (byte)(crc >> 8), .. plain.AsSpan(10)];
        Assert.Equal("text"u8.ToArray(), Decompress(whole));
        whole[header.Length] ^= 1;
        Assert.Contains("checksum of its header is wrong", Refused(whole), StringComparison.Ordinal);
    }

    /// <summary>At no byte can a file be cut without that being noticed.</summary>
    [Fact]
    public void CutAtAnyByte_EndsTooEarly()
    {
        byte[] whole = [.. Compress(Content("text").AsSpan(0, 3000)), .. Compress("more"u8)];
        int first = whole.Length - Compress("more"u8).Length;
        for (int length = 0; length < whole.Length; length++)
        {
            if (length == first)
                continue;
            string message = Refused(whole[..length]);
            Assert.Contains($"it ends too early, after {length} bytes", message, StringComparison.Ordinal);
        }
    }

    /// <summary>
    /// Seldom a change leaves the contents as they are: of bits to spare in the last byte, or of a distance to the same letters.
    /// </summary>
    [Fact]
    public void ChangedByte_IsFoundOrChangesNothing()
    {
        int tried = 0, found = 0;
        byte[] text = Content("text")[..3000], whole = Compress(text);
        // Of the header the time, the hints and the system are nobody's.
        foreach (int at in Enumerable.Range(0, whole.Length).Except(Enumerable.Range(4, 6)))
        {
            // That the contents are text is a hint.
            foreach (byte change in (ReadOnlySpan<byte>)(at == 3 ? [0x10, 0x80] : [0x01, 0x10, 0x80]))
            {
                byte[] changed = [.. whole];
                changed[at] ^= change;
                tried++;
                if (TryDecompress(changed) is { } contents)
                    Assert.Equal(text, contents);
                else
                    found++;
            }
        }

        Assert.InRange(found, tried - 0.01 * tried, tried);
    }

    [Fact]
    public void WrongChecksumOrLength_IsSaid()
    {
        byte[] whole = Compress(Content("text")), crc = [.. whole], length = [.. whole];
        crc[^8] ^= 1;
        length[^1] ^= 1;
        Assert.Contains("its checksum is ", Refused(crc), StringComparison.Ordinal);
        Assert.Contains("it is damaged", Refused(crc), StringComparison.Ordinal);
        Assert.Contains("its length should be ", Refused(length), StringComparison.Ordinal);
        Assert.Contains("its checksum of part 2 is ", Refused([.. whole, .. crc]), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("garbage", 7)]
    [InlineData("\u001fx", 2)]
    [InlineData("\0\0x", 3)]
    public void WhatStandsBehindTheEnd_IsNamed(string behind, int bytes)
    {
        byte[] whole = Compress("text"u8);
        Assert.Contains($"its compressed data ends at byte {whole.Length}, and behind that stand {bytes} bytes that are not gzip",
            Refused([.. whole, .. Encoding.Latin1.GetBytes(behind)]), StringComparison.Ordinal);
    }

    /// <summary>No input ends in anything but contents or an error of this kind, and none takes more than its window.</summary>
    [Fact]
    public void Noise_IsRefusedInOrder()
    {
        var random = new Random(5);
        byte[] whole = Compress(Content("text").AsSpan(0, 3000)), header = whole[..10];
        for (int i = 0; i < 2000; i++)
        {
            byte[] noise = new byte[random.Next(0, 400)];
            random.NextBytes(noise);
            byte[] input = i % 2 == 0 ? [.. header, .. noise] : [.. whole];
            if (i % 2 == 1)
                noise.AsSpan(0, Math.Min(noise.Length, 8)).CopyTo(input.AsSpan(random.Next(10, whole.Length - 8)));
            TryDecompress(input);
        }
    }

    [Fact]
    public void TruncatedFile_IsRefusedHoweverLittleOfItIsWanted()
    {
        byte[] whole = Compress(Content("long"));
        string path = _folder.Write("text.gz", whole[..^8]);
        foreach (int bytes in (int[])[1, 5000, 50_000_000])
        {
            var e = Assert.Throws<StreamException>(() => TextSources.FromPaths([path], bytes));
            Assert.Contains($"'{path}' cannot be read: it ends too early", e.Message, StringComparison.Ordinal);
        }

        // Before anything is learned, or written.
        CommandLineRun run = CommandLineRun.Of("stream", path, "--bytes", "4096", "--out", _folder.File("out"), "--device", "managed");
        Assert.Equal(ExitStatus.BadInput, run.Status);
        Assert.Contains("it ends too early", run.Error, StringComparison.Ordinal);
        Assert.False(Directory.Exists(_folder.File("out")));

        // In a folder the file is named.
        string folder = Path.GetDirectoryName(_folder.Write("folder/a.txt", "text\n"))!;
        string member = _folder.Write("folder/b.gz", whole[..^1]);
        var inFolder = Assert.Throws<StreamException>(() => TextSources.FromPaths([folder], 1000));
        Assert.Contains($"'{member}' cannot be read: it ends too early", inFolder.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void CompressedFile_IsKnownByItsContents()
    {
        // Hugging Face's cache keeps files by their hashes.
        string path = _folder.Write("0123abcd", Compress("Grüße"u8));
        Assert.Equal("Grüße"u8.ToArray(), TextSources.FromPaths([path], 100)[0].Bytes);
        Assert.Equal("Grü"u8.ToArray(), TextSources.FromPaths([path], 4)[0].Bytes);
    }

    private static byte[] Content(string name)
    {
        switch (name)
        {
            case "empty":
                return [];
            case "letter":
                return "x"u8.ToArray();
            case "text":
                return Texts.Words("abcdefghij", 20_000, 3);
            case "zeros":
                return new byte[200_000];
            case "noise":
                byte[] noise = new byte[150_000];
                new Random(1).NextBytes(noise);
                return noise;
            default:
                // Distances up to the farthest, and more than one window.
                byte[] part = Texts.Words("abcdefghijklmnopqrstuvwxyz", 32_700, 4);
                return [.. part, .. part, .. Texts.Words("xyz", 70_000, 5), .. part];
        }
    }

    private static byte[] Compress(ReadOnlySpan<byte> text, CompressionLevel level = CompressionLevel.Optimal)
    {
        using var compressed = new MemoryStream();
        using (var gzip = new GZipStream(compressed, level, leaveOpen: true))
            gzip.Write(text);
        // The system writes nothing at all where there was nothing to write.
        return compressed.Length > 0 ? compressed.ToArray()
            : [0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    }

    private static byte[] Decompress(byte[] compressed, int already = 0)
    {
        using var source = new MemoryStream(compressed, already, compressed.Length - already);
        using var contents = new MemoryStream();
        GzipReader.Decompress(compressed.AsSpan(0, already), source, piece => contents.Write(piece.Span));
        return contents.ToArray();
    }

    private static byte[]? TryDecompress(byte[] compressed)
    {
        try
        {
            return Decompress(compressed);
        }
        catch (InvalidDataException)
        {
            return null;
        }
    }

    private static string Refused(byte[] compressed) => Assert.Throws<InvalidDataException>(() => Decompress(compressed)).Message;

    // CRC-32 bit by bit.
    private static uint Crc(ReadOnlySpan<byte> bytes)
    {
        uint crc = uint.MaxValue;
        foreach (byte value in bytes)
        {
            crc ^= value;
            for (int bit = 0; bit < 8; bit++)
                crc = crc >> 1 ^ ((crc & 1) != 0 ? 0xEDB88320 : 0);
        }

        return ~crc;
    }
}
