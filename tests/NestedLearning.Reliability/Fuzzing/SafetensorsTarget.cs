using System.Buffers.Binary;
using System.Buffers.Text;

namespace NestedLearning.Reliability.Fuzzing;

/// <summary>The reader of safetensors files, with every tensor's elements.</summary>
internal class SafetensorsTarget : FuzzTarget
{
    public override string Name => "safetensors";

    public override IReadOnlyList<string> Words { get; } =
    [
        "\"__metadata__\":{\"a\":\"b\"},", "\"dtype\":", "\"shape\":[", "\"data_offsets\":[0,4]", "\"F32\"", "\"F16\"", "\"BF16\"",
        "\"F64\"", "\"I64\"", "\"I32\"", "\"U8\"", "\"BOOL\"", "\"F8_E4M3\"", "{", "}", "[", "]", ",", "\\u0000", "\\ud800",
        "nested_learning.crc32c",
    ];

    // Of the golden cases those of at most so many bytes.
    public override IEnumerable<byte[]> Seeds() =>
        from path in Directory.GetFiles(Path.Combine(Repository.Root, "tests", "golden"), "*.safetensors").Order(StringComparer.Ordinal)
        where new FileInfo(path).Length <= 4096
        select File.ReadAllBytes(path);

    public override void Run(ReadOnlySpan<byte> input)
    {
        using var stream = new MemoryStream(input.ToArray(), writable: false);
        Use(SafetensorsReader.Read(stream, requireChecksum: false));
    }

    public override bool IsRefusal(Exception error) => error is CheckpointException;

    // Half of the time the header's length, and then the data's, are those that are there.
    public override byte[] Repair(byte[] input, Random random)
    {
        const int Prefix = sizeof(ulong);
        if (input.Length <= Prefix || random.Next(2) == 0)
            return input;
        int depth = 0, end = Prefix;
        for (; end < input.Length; end++)
        {
            depth += input[end] == '{' ? 1 : input[end] == '}' ? -1 : 0;
            if (depth <= 0)
                break;
        }

        end = Math.Min(end + 1, input.Length);
        BinaryPrimitives.WriteUInt64LittleEndian(input, (ulong)(end - Prefix));
        int data = LargestNumberAfter(input.AsSpan(Prefix, end - Prefix), "data_offsets"u8);
        if (data < 0)
            return input;
        byte[] repaired = new byte[end + data];
        input.AsSpan(0, Math.Min(input.Length, repaired.Length)).CopyTo(repaired);
        return repaired;
    }

    private protected virtual void Use(SafetensorsFile file)
    {
        foreach (string name in file.Names)
        {
            // Conversion; a type or a number may have none.
            try
            {
                _ = file.HoldsFloats(name) ? file.Floats(name).Length : file.Integers(name, file.ShapeOf(name).ElementCount).Length;
            }
            catch (CheckpointException)
            {
            }
        }
    }

    // −1 where there is none that an input could have.
    private static int LargestNumberAfter(ReadOnlySpan<byte> text, ReadOnlySpan<byte> word)
    {
        int largest = -1;
        for (int at; (at = text.IndexOf(word)) >= 0;)
        {
            text = text[(at + word.Length)..];
            ReadOnlySpan<byte> numbers = text[..Math.Max(0, text.IndexOf((byte)']'))];
            int comma = numbers.IndexOf((byte)',');
            if (comma >= 0 && Utf8Parser.TryParse(numbers[(comma + 1)..], out int last, out _) && last is >= 0 and < 1 << 20)
                largest = Math.Max(largest, last);
        }

        return largest;
    }
}
