using System.Globalization;

namespace NestedLearning.CommandLine.Streaming;

/// <summary>The bytes of a text file, decompressed where gzip compressed it, or why they are no text.</summary>
/// <param name="Text">The beginning of the text without its mark; empty where it is none.</param>
/// <param name="Reason">Why it is no text, to go behind the file's name; null where it is.</param>
internal readonly record struct TextFile(byte[] Text, string? Reason)
{
    private const string GzipExtension = ".gz";

    // Of other compressions the first bytes.
    private static readonly (byte[] Magic, string Name)[] s_compressions =
    [
        ([0x28, 0xB5, 0x2F, 0xFD], "zstd"), ([0xFD, .. "7zXZ\0"u8], "xz"), ([.. "BZh"u8], "bzip2"), ([.. "PK\x3\x4"u8], "zip"),
        ([0x04, 0x22, 0x4D, 0x18], "lz4"), ([.. "7z"u8, 0xBC, 0xAF, 0x27, 0x1C], "7-zip"),
    ];

    /// <summary>Reads a file; of a compressed one everything, so that its end is known to be whole.</summary>
    /// <param name="path">The file.</param>
    /// <param name="bytes">How much of the text is wanted.</param>
    /// <exception cref="InvalidDataException">A compressed file ends too early, is damaged, or has something behind its end.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be read.</exception>
    public static TextFile Read(string path, int bytes)
    {
        using FileStream file = File.OpenRead(path);
        Span<byte> beginning = stackalloc byte[16];
        beginning = beginning[..file.ReadAtLeast(beginning, beginning.Length, throwOnEndOfStream: false)];
        byte[] text;
        if (GzipReader.IsGzip(beginning) || path.EndsWith(GzipExtension, StringComparison.OrdinalIgnoreCase))
        {
            using var contents = new MemoryStream();
            GzipReader.Decompress(beginning, file,
                piece => contents.Write(piece.Span[..(int)Math.Min(piece.Length, bytes - contents.Length)]));
            text = contents.ToArray();
        }
        else
        {
            text = ReadPlain(file, beginning, bytes);
        }

        ReadOnlySpan<byte> mark = [0xEF, 0xBB, 0xBF];
        return ReasonAgainst(text) is { } reason ? new TextFile([], reason)
            : new TextFile(text.AsSpan().StartsWith(mark) ? text[mark.Length..] : text, null);
    }

    private static byte[] ReadPlain(FileStream file, ReadOnlySpan<byte> beginning, int bytes)
    {
        // A pipe has no length, and some files of the system say 0.
        var text = new byte[file.CanSeek && file.Length > 0 ? Math.Min(bytes, file.Length) : bytes];
        int begun = Math.Min(beginning.Length, text.Length);
        beginning[..begun].CopyTo(text);
        int length = begun + file.ReadAtLeast(text.AsSpan(begun), text.Length - begun, throwOnEndOfStream: false);
        return length == text.Length ? text : text[..length];
    }

    // No text encoding but UTF-16 and UTF-32 has zero bytes, and those are not for a model of bytes.
    private static string? ReasonAgainst(ReadOnlySpan<byte> text)
    {
        const string Convert = "expected UTF-8 or another encoding without zero bytes";
        if (text is [0xFF, 0xFE, 0, 0, ..] or [0, 0, 0xFE, 0xFF, ..])
            return $"it is UTF-32, {Convert}";
        if (text is [0xFF, 0xFE, ..] or [0xFE, 0xFF, ..])
            return $"it is UTF-16, {Convert}";
        foreach ((byte[] magic, string name) in s_compressions)
        {
            if (text.StartsWith(magic))
                return $"it is compressed by {name}, expected plain text or gzip";
        }

        int first = text.IndexOf((byte)0);
        if (first < 0)
            return null;
        int zeros = text.Count((byte)0), odd = 0;
        for (int i = 1; i < text.Length; i += 2)
            odd += text[i] == 0 ? 1 : 0;
        // Of Latin letters one half is zero, always the same one.
        if (zeros > text.Length / 3 && (odd > 0.9 * zeros || odd < 0.1 * zeros))
            return $"it looks like UTF-16 without a mark, {Convert}";
        string where = first.ToString("N0", CultureInfo.InvariantCulture);
        return zeros == 1 ? $"it has a zero byte, at byte {where}"
            : $"it has {zeros.ToString("N0", CultureInfo.InvariantCulture)} zero bytes, the first at byte {where}";
    }
}
