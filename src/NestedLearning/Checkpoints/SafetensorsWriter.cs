using System.Buffers;
using System.Buffers.Binary;
using System.Text;
using System.Text.Json;

namespace NestedLearning;

/// <summary>
/// Writes safetensors: the header's length (u64), the header (JSON, padded with spaces so that data starts at a
/// multiple of 8), the data. Tensors of longer elements come first and those of one length are sorted by name, so every tensor
/// is aligned to its element and the same contents make the same bytes.
/// </summary>
internal static class SafetensorsWriter
{
    // The checksum comes first in the header, so that its place is known.
    private static readonly int s_checksumStart =
        sizeof(ulong) + $"{{\"{SafetensorsFile.MetadataKey}\":{{\"{SafetensorsFile.ChecksumKey}\":\"".Length;

    private static readonly UTF8Encoding s_strictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>What writes a file to a stream, from first to last.</summary>
    /// <exception cref="ArgumentException">The file's metadata, or the name or size of a tensor, cannot be written.</exception>
    public static Action<Stream> Prepare(SafetensorsFile file)
    {
        if (!BitConverter.IsLittleEndian)
            throw new PlatformNotSupportedException("Safetensors files are little-endian, and this machine is not.");
        KeyValuePair<string, SafetensorsEntry>[] entries =
            [.. file.Entries.OrderByDescending(e => e.Value.Type.Bits).ThenBy(e => e.Key, StringComparer.Ordinal)];
        foreach ((string name, SafetensorsEntry entry) in entries)
        {
            if (!entry.IsHeld)
                throw new ArgumentException($"Tensor '{name}' of {SafetensorsEntry.Text(entry.Axes)} is too large to be held, and so to " +
                    "be written.", nameof(file));
        }

        byte[] prefix = Prefix(file, entries);

        var crc = new Crc32C();
        crc.Append(prefix);
        foreach ((_, SafetensorsEntry entry) in entries)
            entry.ForEachPiece(bytes => crc.Append(bytes));
        Encoding.ASCII.GetBytes(crc.Text, prefix.AsSpan(s_checksumStart, Crc32C.TextLength));

        return stream =>
        {
            stream.Write(prefix);
            foreach ((_, SafetensorsEntry entry) in entries)
                entry.ForEachPiece(bytes => stream.Write(bytes));
        };
    }

    /// <summary>Everything before the data, with zeros for the checksum.</summary>
    private static byte[] Prefix(SafetensorsFile file, KeyValuePair<string, SafetensorsEntry>[] entries)
    {
        var buffer = new ArrayBufferWriter<byte>();
        BinaryPrimitives.WriteUInt64LittleEndian(buffer.GetSpan(sizeof(ulong)), 0);
        buffer.Advance(sizeof(ulong));
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteStartObject(SafetensorsFile.MetadataKey);
            json.WriteString(SafetensorsFile.ChecksumKey, new string('0', Crc32C.TextLength));
            foreach ((string key, string value) in file.Metadata)
            {
                if (key == SafetensorsFile.ChecksumKey)
                    throw new ArgumentException($"The metadata key '{key}' is reserved for the file's checksum.", nameof(file));
                CheckUnicode(key);
                CheckUnicode(value ?? throw new ArgumentException($"The metadata of '{key}' is null.", nameof(file)));
                json.WriteString(key, value);
            }

            json.WriteEndObject();
            long offset = 0;
            foreach ((string name, SafetensorsEntry entry) in entries)
            {
                CheckUnicode(name);
                json.WriteStartObject(name);
                json.WriteString("dtype", entry.Type.Name);
                json.WriteStartArray("shape");
                foreach (long axis in entry.Axes)
                    json.WriteNumberValue(axis);
                json.WriteEndArray();
                json.WriteStartArray("data_offsets");
                json.WriteNumberValue(offset);
                offset += entry.Bytes;
                json.WriteNumberValue(offset);
                json.WriteEndArray();
                json.WriteEndObject();
            }

            json.WriteEndObject();
        }

        int padding = -buffer.WrittenCount & (sizeof(ulong) - 1);
        buffer.GetSpan(sizeof(ulong))[..padding].Fill((byte)' ');
        buffer.Advance(padding);
        int header = buffer.WrittenCount - sizeof(ulong);
        if (header > SafetensorsFile.MaxHeader)
            throw new ArgumentException($"The header would take {header} bytes, at most {SafetensorsFile.MaxHeader} are allowed.",
                nameof(file));
        byte[] prefix = buffer.WrittenSpan.ToArray();
        BinaryPrimitives.WriteUInt64LittleEndian(prefix, (ulong)header);
        return prefix;
    }

    // The JSON writer would put U+FFFD in place of a lone surrogate, and two names could become one.
    private static void CheckUnicode(string text)
    {
        try
        {
            s_strictUtf8.GetByteCount(text);
        }
        catch (EncoderFallbackException e)
        {
            throw new ArgumentException($"The name or metadata '{text}' is not valid Unicode: {e.Message}", nameof(text), e);
        }
    }
}
