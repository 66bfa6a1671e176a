using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>Tensors of every type of the format, and files as other programs write them.</summary>
public sealed class SafetensorsTypesTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("safetensors-types-").FullName;

    private string FilePath => Path.Combine(_folder, "file.safetensors");

    public static TheoryData<string> Types => [.. SafetensorsType.Known, "F12_NEW"];

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Theory]
    [MemberData(nameof(Types))]
    public void AnyTypeBesideTheOneWanted_IsCarried(string type)
    {
        // 24 elements of 1 to 8 bytes, or of 4, 6 and 12 bits: whole bytes.
        int bits = type == "F12_NEW" ? 12 : SafetensorsType.Of(type).Bits, bytes = 24 * bits / 8;
        byte[] other = [.. Enumerable.Range(1, bytes).Select(i => (byte)i)];
        Write([("other", type, [2, 12], other), ("x", "F32", [1], BitConverter.GetBytes(7f))]);

        SafetensorsFile file = SafetensorsFile.Load(FilePath);
        Assert.Equal(["other", "x"], file.Names);
        Assert.Equal(7f, file.Floats("x")[0]);
        Assert.Equal(type, file.TypeOf("other"));
        Assert.Equal([2, 12], file.ShapeOf("other").ToArray());

        // Written again it is what it was.
        string copy = Path.Combine(_folder, "copy.safetensors");
        file.Save(copy);
        SafetensorsFile again = SafetensorsFile.Load(copy, requireChecksum: true);
        Assert.Equal(type, again.TypeOf("other"));
        Assert.Equal(other, DataOf(copy, "other"));
        Assert.Equal(7f, again.Floats("x")[0]);
    }

    [Theory]
    [MemberData(nameof(Types))]
    public void TypeWithoutNumbers_IsRefusedWhenItIsAskedFor(string type)
    {
        int bits = type == "F12_NEW" ? 12 : SafetensorsType.Of(type).Bits;
        Write([("x", type, [8], new byte[bits])]);
        SafetensorsFile file = SafetensorsFile.Load(FilePath);
        bool floats = type is "F32" or "F64" or "F16" or "BF16", integers = type[0] is 'I' or 'U';
        Assert.Equal(floats, file.HoldsFloats("x"));
        if (floats || integers)
            Assert.Equal(new float[8], file.Floats("x", [8]).ToArray());
        else
            Assert.Contains($"'x' is {type}, expected F32,", Assert.Throws<CheckpointException>(() => { file.Floats("x"); }).Message,
                StringComparison.Ordinal);
        if (integers)
            Assert.Equal(new long[8], file.Integers("x", 8).ToArray());
        else
            Assert.Contains($"'x' is {type}, expected integers",
                Assert.Throws<CheckpointException>(() => { file.Integers("x", 8); }).Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Float64_RoundsToTheNearestAndTiesToEven()
    {
        float one = 1, next = MathF.BitIncrement(1), afterNext = MathF.BitIncrement(next);
        double halfWay = ((double)one + next) / 2, otherHalfWay = ((double)next + afterNext) / 2;
        double[] values = [1.5, 0.1, halfWay, Math.BitIncrement(halfWay), otherHalfWay, Math.BitDecrement(otherHalfWay), float.MaxValue,
            -float.MaxValue, double.PositiveInfinity, double.NegativeInfinity, double.NaN, 1e-300, -0.0];
        float[] expected = [1.5f, 0.1f, one, next, afterNext, next, float.MaxValue, -float.MaxValue, float.PositiveInfinity,
            float.NegativeInfinity, float.NaN, 0, -0f];
        Write([("x", "F64", [values.Length], Bytes(values, BinaryPrimitives.WriteDoubleLittleEndian))]);
        Assert.Equal(expected, SafetensorsFile.Load(FilePath).Floats("x").ToArray());
    }

    [Theory]
    [InlineData(1e39)]
    [InlineData(-1e300)]
    [InlineData(3.4028235677973366e38)] // half way from the largest float32 to what would be the next
    public void Float64BeyondFloat32_IsRefused(double value)
    {
        Write([("x", "F64", [2], Bytes([1, value], BinaryPrimitives.WriteDoubleLittleEndian)),
            ("y", "F32", [1], BitConverter.GetBytes(2f))]);
        SafetensorsFile file = SafetensorsFile.Load(FilePath);
        Assert.Equal(2f, file.Floats("y")[0]);
        CheckpointException e = Assert.Throws<CheckpointException>(() => { file.Floats("x"); });
        Assert.Contains("Tensor 'x' has ", e.Message, StringComparison.Ordinal);
        Assert.Contains(" at 1, expected at most 3.4028235e38", e.Message, StringComparison.Ordinal);
    }

    [Fact]
    public void Integers_AreExactWhateverTheirType()
    {
        byte[] bytes = [0x7f, 0x80, 0xff, 0x00];
        Write(
        [
            ("i8", "I8", [4], bytes), ("u8", "U8", [4], bytes), ("i16", "I16", [2], bytes), ("u16", "U16", [2], bytes),
            ("i32", "I32", [1], [0xfe, 0xff, 0xff, 0xff]), ("u32", "U32", [1], [0, 0, 0, 0x80]),
            ("i64", "I64", [2], Bytes([-3L, 1L << 40], BinaryPrimitives.WriteInt64LittleEndian)),
            ("u64", "U64", [2], Bytes([3UL, 1UL << 62], BinaryPrimitives.WriteUInt64LittleEndian)),
        ]);
        SafetensorsFile file = SafetensorsFile.Load(FilePath);
        foreach ((string name, long[] expected) in new (string, long[])[]
        {
            ("i8", [127, -128, -1, 0]), ("u8", [127, 128, 255, 0]), ("i16", [-32641, 255]), ("u16", [32895, 255]), ("i32", [-2]),
            ("u32", [1L << 31]), ("i64", [-3, 1L << 40]), ("u64", [3, 1L << 62]),
        })
        {
            Assert.Equal(expected, file.Integers(name, expected.Length).ToArray());
            Assert.Equal(expected.Select(v => (float)v), file.Floats(name).ToArray());
        }
    }

    [Theory]
    [InlineData("I32", 16_777_216, true)]
    [InlineData("I32", 16_777_217, false)]
    [InlineData("I32", -16_777_217, false)]
    [InlineData("I32", 16_777_218, true)]
    [InlineData("I64", long.MaxValue, false)]
    [InlineData("I64", long.MinValue, true)]
    public void IntegerThatFloat32DoesNotHave_IsRefused(string type, long value, bool exact)
    {
        byte[] bytes = type == "I32" ? BitConverter.GetBytes((int)value) : BitConverter.GetBytes(value);
        Write([("x", type, [1], bytes)]);
        SafetensorsFile file = SafetensorsFile.Load(FilePath);
        Assert.Equal(value, file.Integers("x", 1)[0]);
        if (exact)
            Assert.Equal((double)value, file.Floats("x")[0]);
        else
            Assert.Contains($"'x' has {value} at 0", Assert.Throws<CheckpointException>(() => { file.Floats("x"); }).Message,
                StringComparison.Ordinal);
    }

    [Fact]
    public void UnsignedBeyondASign_IsRefused()
    {
        Write([("x", "U64", [1], Bytes([ulong.MaxValue], BinaryPrimitives.WriteUInt64LittleEndian))]);
        Assert.Contains("'x' has 18446744073709551615 at 0",
            Assert.Throws<CheckpointException>(() => { SafetensorsFile.Load(FilePath).Integers("x", 1); }).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void MoreAxesThanShapesHave_AreRefusedWhenTheyAreAskedFor()
    {
        Write([("x", "F32", [1, 1, 1, 1, 1, 1], new byte[4]), ("y", "F32", [1], BitConverter.GetBytes(2f)),
            ("z", "F32", [4_294_967_296, 0], [])]);
        SafetensorsFile file = SafetensorsFile.Load(FilePath);
        Assert.Equal(2f, file.Floats("y")[0]);
        Assert.Contains("'x' has 6 axes, at most 5", Assert.Throws<CheckpointException>(() => file.ShapeOf("x")).Message,
            StringComparison.Ordinal);
        Assert.Contains("'z' has shape [4294967296, 0], at most", Assert.Throws<CheckpointException>(() => file.ShapeOf("z")).Message,
            StringComparison.Ordinal);
        file.Save(FilePath);
        Assert.Equal(["x", "y", "z"], SafetensorsFile.Load(FilePath, requireChecksum: true).Names);
    }

    /// <summary>
    /// As Python's writers leave them: spaces between tokens, metadata anywhere, a header padded with spaces, entries in the order of
    /// a dictionary, tensors without elements between others, and a scalar.
    /// </summary>
    [Fact]
    public void FileOfPython_OpensAsItIs()
    {
        string header = ("{'b': {'dtype': 'F32', 'shape': [2], 'data_offsets': [4, 12]}, 'empty': {'dtype': 'F32', 'shape': [0, 3], " +
            "'data_offsets': [4, 4]}, '__metadata__': {'format': 'pt'}, 'a': {'dtype': 'F32', 'shape': [], 'data_offsets': [0, 4]}, " +
            "'last': {'dtype': 'BOOL', 'shape': [0], 'data_offsets': [12, 12]}}        ").Replace('\'', '"');
        byte[] json = Encoding.UTF8.GetBytes(header);
        byte[] length = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)json.Length);
        File.WriteAllBytes(FilePath, [.. length, .. json, .. Bytes([1f, 2f, 3f], BinaryPrimitives.WriteSingleLittleEndian)]);

        SafetensorsFile file = SafetensorsFile.Load(FilePath);
        Assert.Equal(["a", "b", "empty", "last"], file.Names);
        Assert.Equal("pt", file.Metadata["format"]);
        Assert.Equal([1f], file.Floats("a", []).ToArray());
        Assert.Equal([2f, 3f], file.Floats("b", [2]).ToArray());
        Assert.Equal([0, 3], file.ShapeOf("empty").ToArray());
        Assert.Empty(file.Floats("empty").ToArray());
    }

    [Fact]
    public async Task Pipe_IsReadToItsEnd()
    {
        Assert.SkipWhen(OperatingSystem.IsWindows(), "Windows has no pipes with names in folders.");
        Write([("x", "F16", [1], [0, 0x3c])]);
        string pipe = Path.Combine(_folder, "pipe");
        using (Process process = Process.Start("mkfifo", pipe))
            process.WaitForExit();
        var writer = Task.Run(() => File.WriteAllBytes(pipe, File.ReadAllBytes(FilePath)), TestContext.Current.CancellationToken);
        Assert.Equal(1f, SafetensorsFile.Load(pipe).Floats("x")[0]);
        await writer;
    }

    private static byte[] Bytes<T>(T[] values, WriteNumber<T> write)
    {
        int size = System.Runtime.CompilerServices.Unsafe.SizeOf<T>();
        byte[] bytes = new byte[values.Length * size];
        for (int i = 0; i < values.Length; i++)
            write(bytes.AsSpan(i * size), values[i]);
        return bytes;
    }

    private delegate void WriteNumber<T>(Span<byte> bytes, T value);

    private static byte[] DataOf(string path, string name)
    {
        byte[] bytes = File.ReadAllBytes(path);
        int header = (int)BinaryPrimitives.ReadUInt64LittleEndian(bytes);
        using var json = JsonDocument.Parse(bytes.AsMemory(8, header));
        JsonElement offsets = json.RootElement.GetProperty(name).GetProperty("data_offsets");
        return bytes[(8 + header + offsets[0].GetInt32())..(8 + header + offsets[1].GetInt32())];
    }

    private void Write((string Name, string Type, long[] Shape, byte[] Data)[] tensors)
    {
        var header = new StringBuilder("{");
        long offset = 0;
        foreach ((string name, string type, long[] shape, byte[] data) in tensors)
        {
            header.Append(CultureInfo.InvariantCulture, $"{(offset == 0 && header.Length == 1 ? "" : ",")}\"{name}\":");
            header.Append(CultureInfo.InvariantCulture,
                $"{{\"dtype\":\"{type}\",\"shape\":[{string.Join(',', shape)}],\"data_offsets\":[{offset},{offset + data.Length}]}}");
            offset += data.Length;
        }

        byte[] json = Encoding.UTF8.GetBytes(header.Append('}').ToString());
        byte[] length = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(length, (ulong)json.Length);
        File.WriteAllBytes(FilePath, [.. length, .. json, .. tensors.SelectMany(t => t.Data)]);
    }
}
