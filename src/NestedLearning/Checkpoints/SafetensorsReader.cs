using System.Buffers.Binary;
using System.Text.Json;

namespace NestedLearning;

/// <summary>
/// Reads safetensors written by anyone. Nothing in the file is believed: every length and offset is checked against the
/// file's own size before memory is taken for it, and the tensors have to tile the data without gap, overlap or rest.
/// </summary>
internal static class SafetensorsReader
{
    // The header is an object of objects that hold arrays of numbers.
    private const int MaxDepth = 3;

    public static SafetensorsFile Read(string path, bool requireChecksum)
    {
        if (!BitConverter.IsLittleEndian)
            throw new PlatformNotSupportedException("Safetensors files are little-endian, and this machine is not.");
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
        try
        {
            if (stream.CanSeek)
                return Read(stream, requireChecksum);
            // A pipe does not say how long it is.
            using var whole = new MemoryStream();
            stream.CopyTo(whole);
            whole.Position = 0;
            return Read(whole, requireChecksum);
        }
        catch (Exception e) when (e is CheckpointException or EndOfStreamException)
        {
            throw new CheckpointException($"'{path}' cannot be read: {e.Message}", e);
        }
    }

    /// <summary>Reads all of a stream that knows its length.</summary>
    public static SafetensorsFile Read(Stream stream, bool requireChecksum)
    {
        byte[] prefix = ReadPrefix(stream);
        Header header = ParseHeader(prefix);
        List<Entry> entries = CheckLayout(header.Entries, stream.Length - prefix.Length);
        if (requireChecksum && header.Checksum is null)
            throw new CheckpointException($"it carries no checksum ('{SafetensorsFile.ChecksumKey}'), which its reader requires.");

        var crc = new Crc32C();
        if (header.Checksum is not null)
            prefix.AsSpan(header.ChecksumStart, Crc32C.TextLength).Fill((byte)'0');
        crc.Append(prefix);

        var file = new SafetensorsFile();
        foreach ((string key, string value) in header.Metadata)
            file.Metadata.Add(key, value);
        foreach (Entry entry in entries)
        {
            var tensor = new SafetensorsEntry(entry.Type, entry.Axes, entry.End - entry.Begin);
            tensor.ForEachPiece(bytes =>
            {
                stream.ReadExactly(bytes);
                crc.Append(bytes);
            });
            file.Add(entry.Name, tensor);
        }

        if (header.Checksum is not null && header.Checksum != crc.Text)
            throw new CheckpointException($"its checksum is {header.Checksum}, but its contents have {crc.Text}: it is damaged.");
        return file;
    }

    /// <summary>The length and the header: every byte before the data.</summary>
    private static byte[] ReadPrefix(Stream stream)
    {
        long length = stream.Length;
        if (length < sizeof(ulong))
            throw new CheckpointException($"it has {length} bytes, too few for the length of a header.");
        Span<byte> size = stackalloc byte[sizeof(ulong)];
        stream.ReadExactly(size);
        ulong header = BinaryPrimitives.ReadUInt64LittleEndian(size);
        if (header > (ulong)(length - sizeof(ulong)))
            throw new CheckpointException($"its header should take {header} bytes, but the file has {length - sizeof(ulong)} left.");
        if (header > SafetensorsFile.MaxHeader)
            throw new CheckpointException($"its header takes {header} bytes, at most {SafetensorsFile.MaxHeader} are allowed.");
        byte[] prefix = new byte[sizeof(ulong) + (int)header];
        size.CopyTo(prefix);
        stream.ReadExactly(prefix.AsSpan(sizeof(ulong)));
        return prefix;
    }

    private static Header ParseHeader(byte[] prefix)
    {
        var json = new Utf8JsonReader(prefix.AsSpan(sizeof(ulong)), new JsonReaderOptions { MaxDepth = MaxDepth });
        var header = new Header();
        try
        {
            Expect(ref json, JsonTokenType.StartObject, "the header");
            while (NextName(ref json, "the header") is string name)
            {
                if (!header.Names.Add(name))
                    throw new CheckpointException($"its header has '{name}' twice.");
                if (name == SafetensorsFile.MetadataKey)
                    ParseMetadata(ref json, header);
                else
                    header.Entries.Add(ParseEntry(ref json, name));
            }

            // Whatever stands behind the object, other than white space, is an error of the JSON reader.
            json.Read();
        }
        // The reader reports text that is not valid UTF-8 as an invalid operation.
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            throw new CheckpointException($"its header is not JSON of the expected form: {e.Message}", e);
        }

        return header;
    }

    private static void ParseMetadata(ref Utf8JsonReader json, Header header)
    {
        Expect(ref json, JsonTokenType.StartObject, SafetensorsFile.MetadataKey);
        while (NextName(ref json, SafetensorsFile.MetadataKey) is string key)
        {
            Expect(ref json, JsonTokenType.String, $"the metadata of '{key}'");
            string value = json.GetString()!;
            bool added;
            if (key == SafetensorsFile.ChecksumKey)
            {
                added = header.Checksum is null;
                if (json.ValueIsEscaped || value.Length != Crc32C.TextLength || !value.All(char.IsAsciiHexDigitLower))
                    throw new CheckpointException($"its checksum is '{value}', expected {Crc32C.TextLength} hexadecimal digits.");
                header.Checksum = value;
                // Behind the opening quote.
                header.ChecksumStart = sizeof(ulong) + checked((int)json.TokenStartIndex) + 1;
            }
            else
            {
                added = header.Metadata.TryAdd(key, value);
            }

            if (!added)
                throw new CheckpointException($"its metadata has '{key}' twice.");
        }
    }

    private static Entry ParseEntry(ref Utf8JsonReader json, string name)
    {
        Expect(ref json, JsonTokenType.StartObject, $"tensor '{name}'");
        string? type = null;
        List<long>? shape = null, offsets = null;
        while (NextName(ref json, name) is string field)
        {
            bool repeated;
            switch (field)
            {
                case "dtype":
                    repeated = type is not null;
                    Expect(ref json, JsonTokenType.String, $"the dtype of '{name}'");
                    type = json.GetString();
                    break;
                case "shape":
                    repeated = shape is not null;
                    shape = ParseLengths(ref json, $"the shape of '{name}'");
                    break;
                case "data_offsets":
                    repeated = offsets is not null;
                    offsets = ParseLengths(ref json, $"the data_offsets of '{name}'");
                    break;
                default:
                    throw new CheckpointException($"tensor '{name}' has a field '{field}', expected dtype, shape and data_offsets.");
            }

            if (repeated)
                throw new CheckpointException($"tensor '{name}' has its {field} twice.");
        }

        if (type is null || shape is null || offsets is null)
            throw new CheckpointException($"tensor '{name}' lacks its " +
                $"{(type is null ? "dtype" : shape is null ? "shape" : "data_offsets")}.");
        if (offsets.Count != 2)
            throw new CheckpointException($"tensor '{name}' has {offsets.Count} data_offsets, expected 2.");
        return new Entry(name, SafetensorsType.Of(type), [.. shape], offsets[0], offsets[1]);
    }

    /// <summary>The bytes that a tensor must have, or null where its type does not say.</summary>
    private static UInt128? BytesOf(Entry entry)
    {
        if (entry.Type.Bits == 0)
            return null;
        // An axis of 0 makes any product 0, so the others are bounded for themselves.
        UInt128 count = 1;
        foreach (long axis in entry.Axes)
        {
            count *= (ulong)Math.Max(axis, 1);
            if (count > long.MaxValue)
                throw new CheckpointException($"tensor '{entry.Name}' has shape {SafetensorsEntry.Text(entry.Axes)}, more elements than " +
                    "a file can have.");
        }

        UInt128 bits = (entry.Axes.Contains(0) ? 0 : count) * (uint)entry.Type.Bits;
        return bits % 8 == 0 ? bits / 8
            : throw new CheckpointException($"tensor '{entry.Name}', {entry.Type.Name} {SafetensorsEntry.Text(entry.Axes)}, takes {bits} " +
                "bits, expected whole bytes.");
    }

    private static List<long> ParseLengths(ref Utf8JsonReader json, string what)
    {
        Expect(ref json, JsonTokenType.StartArray, what);
        var lengths = new List<long>();
        while (json.Read() && json.TokenType != JsonTokenType.EndArray)
        {
            if (json.TokenType != JsonTokenType.Number || !json.TryGetInt64(out long length) || length < 0)
                throw new CheckpointException($"{what} should hold integers of at least 0.");
            lengths.Add(length);
        }

        return lengths;
    }

    /// <summary>Checks that the tensors tile the data, and returns them in the data's order.</summary>
    private static List<Entry> CheckLayout(List<Entry> entries, long dataLength)
    {
        List<Entry> sorted = [.. entries.OrderBy(e => e.Begin).ThenBy(e => e.End)];
        long end = 0;
        foreach (Entry entry in sorted)
        {
            UInt128? bytes = BytesOf(entry);
            if (entry.End < entry.Begin || (bytes is { } expected && (UInt128)(entry.End - entry.Begin) != expected))
            {
                string takes = bytes is null ? "that is less than nothing"
                    : $"{entry.Type.Name} {SafetensorsEntry.Text(entry.Axes)} takes {bytes} bytes";
                throw new CheckpointException($"tensor '{entry.Name}' has data_offsets {entry.Begin} to {entry.End}, but {takes}.");
            }

            if (entry.End > dataLength)
                throw new CheckpointException($"tensor '{entry.Name}' ends at byte {entry.End} of the data, which has {dataLength}.");
            if (entry.Begin != end)
            {
                throw new CheckpointException(
                    $"tensor '{entry.Name}' begins at byte {entry.Begin} of the data, expected {end}: tensors must neither overlap nor " +
                    "leave gaps.");
            }

            end = entry.End;
        }

        if (end != dataLength)
            throw new CheckpointException($"it has {dataLength} bytes of data, but its tensors end at {end}.");
        return sorted;
    }

    private static void Expect(ref Utf8JsonReader json, JsonTokenType expected, string what)
    {
        if (!json.Read() || json.TokenType != expected)
            throw new CheckpointException($"{what} is {json.TokenType}, expected {expected}.");
    }

    /// <summary>The next name of the object being read; null at its end.</summary>
    private static string? NextName(ref Utf8JsonReader json, string what)
    {
        if (json.Read() && json.TokenType == JsonTokenType.EndObject)
            return null;
        return json.TokenType == JsonTokenType.PropertyName ? json.GetString() : throw new CheckpointException($"{what} is not closed.");
    }

    private sealed record Entry(string Name, SafetensorsType Type, long[] Axes, long Begin, long End);

    private sealed class Header
    {
        public HashSet<string> Names { get; } = new(StringComparer.Ordinal);

        public List<Entry> Entries { get; } = [];

        public Dictionary<string, string> Metadata { get; } = new(StringComparer.Ordinal);

        public string? Checksum { get; set; }

        public int ChecksumStart { get; set; }
    }
}
