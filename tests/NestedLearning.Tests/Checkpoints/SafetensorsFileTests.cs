using System.Buffers.Binary;
using System.Text;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

public sealed class SafetensorsFileTests : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("safetensors-").FullName;

    private string FilePath => Path.Combine(_folder, "file.safetensors");

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public void Contents_SurviveARoundTrip()
    {
        float[] elements = new TestData(3).Normal(24);
        elements[0] = float.NaN;
        elements[1] = float.NegativeInfinity;
        elements[2] = -0f;
        var file = new SafetensorsFile { Metadata = { ["kind"] = "test", ["größe"] = "\"\\\n\u0001 数", [""] = "" } };
        file.Add("weight", [2, 3, 4], elements);
        file.Add("scalar", [], [3f]);
        file.Add("empty", [3, 0], []);
        file.Add("名前/\"x\"\\", [1], [4f]);
        file.Add("clock", [long.MinValue, -1, long.MaxValue]);
        using (Device device = Device.Open("managed"))
        using (Tensor tensor = device.From([5], [1, 2, 3, 4, 5]))
            file.Add("tensor", tensor);
        elements[5] = 17;
        file.Save(FilePath);

        SafetensorsFile read = SafetensorsFile.Load(FilePath, requireChecksum: true);
        Assert.Equal(file.Names, read.Names);
        Assert.Equal(["clock", "empty", "scalar", "tensor", "weight", "名前/\"x\"\\"], read.Names);
        Assert.Equal(file.Metadata, read.Metadata);
        foreach (string name in file.Names.Where(n => n != "clock"))
            Compare.SameBits(name, read.Floats(name, file.ShapeOf(name)), file.Floats(name));
        Assert.NotEqual(17, read.Floats("weight")[5]);
        Assert.Equal([long.MinValue, -1, long.MaxValue], read.Integers("clock", 3).ToArray());
        Assert.True(read.Contains("empty"));
        Assert.False(read.Contains("Empty"));
    }

    [Fact]
    public void EmptyFile_SurvivesARoundTrip()
    {
        new SafetensorsFile().Save(FilePath);
        SafetensorsFile read = SafetensorsFile.Load(FilePath, requireChecksum: true);
        Assert.Empty(read.Names);
        Assert.Empty(read.Metadata);
    }

    [Fact]
    public void Bytes_DependOnContentsAlone()
    {
        var first = new SafetensorsFile { Metadata = { ["a"] = "1", ["b"] = "2" } };
        first.Add("x", [2], [1f, 2f]);
        first.Add("n", [7L]);
        first.Add("y", [1], [3f]);
        var second = new SafetensorsFile { Metadata = { ["b"] = "2", ["a"] = "1" } };
        second.Add("y", [1], [3f]);
        second.Add("x", [2], [1f, 2f]);
        second.Add("n", [7L]);
        first.Save(FilePath);
        byte[] bytes = File.ReadAllBytes(FilePath);
        second.Save(FilePath);
        Assert.Equal(bytes, File.ReadAllBytes(FilePath));
    }

    [Fact]
    public void Data_StartsAtAMultipleOfEight()
    {
        for (int length = 0; length < 9; length++)
        {
            var file = new SafetensorsFile { Metadata = { ["pad"] = new string('x', length) } };
            file.Add("f", [1], [1f]);
            file.Add("i", [1L, 2L]);
            file.Save(FilePath);
            byte[] bytes = File.ReadAllBytes(FilePath);
            int data = 8 + (int)BinaryPrimitives.ReadUInt64LittleEndian(bytes);
            Assert.Equal(0, data % 8);
            // 64-bit integers come first, so every element is aligned to its size.
            Assert.Equal(1, BinaryPrimitives.ReadInt64LittleEndian(bytes.AsSpan(data)));
        }
    }

    /// <summary>The check value of CRC-32C: that of the ASCII digits 1 to 9.</summary>
    [Fact]
    public void Checksum_IsCrc32C()
    {
        var whole = new Crc32C();
        whole.Append("123456789"u8);
        Assert.Equal("e3069283", whole.Text);
        var parts = new Crc32C();
        parts.Append("1"u8);
        parts.Append("23456789"u8);
        Assert.Equal(whole.Value, parts.Value);
    }

    [Fact]
    public void Truncation_IsFoundAtEveryByte()
    {
        byte[] bytes = SavedSample();
        for (int length = 0; length < bytes.Length; length++)
        {
            File.WriteAllBytes(FilePath, bytes[..length]);
            Assert.Throws<CheckpointException>(() => SafetensorsFile.Load(FilePath));
        }
    }

    [Fact]
    public void BytesBehindTheEnd_AreFound()
    {
        byte[] bytes = SavedSample();
        foreach (int more in (ReadOnlySpan<int>)[1, 4, 8, 4096])
            Refused([.. bytes, .. new byte[more]], "bytes of data");
    }

    [Fact]
    public void ChangedByte_IsFoundWhereverItIs()
    {
        byte[] bytes = SavedSample();
        SafetensorsFile.Load(FilePath, requireChecksum: true);
        for (int i = 0; i < bytes.Length; i++)
        {
            foreach (byte change in (ReadOnlySpan<byte>)[0x01, 0x20, 0x80, 0xff])
            {
                bytes[i] ^= change;
                File.WriteAllBytes(FilePath, bytes);
                Assert.Throws<CheckpointException>(() => SafetensorsFile.Load(FilePath, requireChecksum: true));
                bytes[i] ^= change;
            }
        }
    }

    [Fact]
    public void ChangedHeaderField_IsFound()
    {
        byte[] bytes = SavedSample();
        string header = Encoding.UTF8.GetString(bytes, 8, (int)BinaryPrimitives.ReadUInt64LittleEndian(bytes));
        foreach ((string old, string replaced) in new[]
        {
            ("\"shape\":[2,3]", "\"shape\":[3,2]"),
            ("\"step\":\"12\"", "\"step\":\"21\""),
            ("\"weight\"", "\"weighs\""),
            ("\"bias\"", "\"b\\u0069as\""),
            ("\"dtype\":\"I64\"", "\"dtype\": \"I64\""),
            (" ", ""),
        })
        {
            Assert.Contains(old, header, StringComparison.Ordinal);
            byte[] changed = Assemble(header.Replace(old, replaced, StringComparison.Ordinal), bytes[(8 + header.Length)..]);
            Refused(changed, "damaged");
        }
    }

    [Fact]
    public void MissingChecksum_IsRefusedOnlyWhereItIsRequired()
    {
        Write(Assemble("""{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", new byte[4]));
        Assert.Equal(0f, SafetensorsFile.Load(FilePath).Floats("x")[0]);
        CheckpointException e = Assert.Throws<CheckpointException>(() => SafetensorsFile.Load(FilePath, requireChecksum: true));
        Assert.Contains(SafetensorsFile.ChecksumKey, e.Message, StringComparison.Ordinal);
        Assert.Contains(FilePath, e.Message, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("00000000", "damaged")]
    [InlineData("0000000", "expected 8 hexadecimal digits")]
    [InlineData("0000000G", "expected 8 hexadecimal digits")]
    [InlineData("0000000A", "expected 8 hexadecimal digits")]
    [InlineData("0000000\\u0030", "expected 8 hexadecimal digits")]
    public void WrongChecksum_IsRefused(string checksum, string reason) =>
        Refused(Assemble("""{"__metadata__":{"nested_learning.crc32c":"?"}}""".Replace("?", checksum, StringComparison.Ordinal), []),
            reason);

    [Theory]
    [InlineData("", 0, "header")]
    [InlineData("[]", 0, "expected StartObject")]
    [InlineData("{", 0, "JSON")]
    [InlineData("{}}", 0, "JSON")]
    [InlineData("{} {}", 0, "JSON")]
    [InlineData("{},", 0, "JSON")]
    [InlineData("{/* */}", 0, "JSON")]
    [InlineData("{}\0\0\0\0\0\0", 0, "JSON")]
    [InlineData("{}", 4, "bytes of data")]
    [InlineData("""{"x":4}""", 0, "expected StartObject")]
    [InlineData("""{"x":null}""", 0, "expected StartObject")]
    [InlineData("""{"x":{}}""", 0, "lacks its dtype")]
    [InlineData("""{"x":{"dtype":"F32","data_offsets":[0,4]}}""", 4, "lacks its shape")]
    [InlineData("""{"x":{"dtype":"F32","shape":[1]}}""", 4, "lacks its data_offsets")]
    [InlineData("""{"x":{"dtype":"F64","shape":[1],"data_offsets":[0,4]}}""", 4, "F64 [1] takes 8 bytes")]
    [InlineData("""{"x":{"dtype":"F16","shape":[2],"data_offsets":[0,8]}}""", 8, "F16 [2] takes 4 bytes")]
    [InlineData("""{"x":{"dtype":"BOOL","shape":[3],"data_offsets":[0,4]}}""", 4, "BOOL [3] takes 3 bytes")]
    [InlineData("""{"x":{"dtype":"F4","shape":[3],"data_offsets":[0,2]}}""", 2, "takes 12 bits, expected whole bytes")]
    [InlineData("""{"x":{"dtype":"F6_E2M3","shape":[4],"data_offsets":[0,4]}}""", 4, "F6_E2M3 [4] takes 3 bytes")]
    [InlineData("""{"x":{"dtype":"NEW","shape":[1],"data_offsets":[4,0]}}""", 4, "less than nothing")]
    [InlineData("""{"x":{"dtype":"NEW","shape":[1],"data_offsets":[0,8]}}""", 4, "ends at byte 8 of the data, which has 4")]
    [InlineData("""{"x":{"dtype":1,"shape":[1],"data_offsets":[0,4]}}""", 4, "expected String")]
    [InlineData("""{"x":{"dtype":"F32","shape":1,"data_offsets":[0,4]}}""", 4, "expected StartArray")]
    [InlineData("""{"x":{"dtype":"F32","shape":["1"],"data_offsets":[0,4]}}""", 4, "integers of at least 0")]
    [InlineData("""{"x":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}""", 4, "integers of at least 0")]
    [InlineData("""{"x":{"dtype":"F32","shape":[1.5],"data_offsets":[0,4]}}""", 4, "integers of at least 0")]
    [InlineData("""{"x":{"dtype":"F32","shape":[99999999999999999999],"data_offsets":[0,4]}}""", 4, "integers of at least 0")]
    [InlineData("""{"x":{"dtype":"F32","shape":[9223372036854775807,9223372036854775807,9223372036854775807],"data_offsets":[0,4]}}""", 4,
        "more elements than a file can have")]
    [InlineData("""{"x":{"dtype":"F32","shape":[4294967296,4294967296,4294967296,4294967296],"data_offsets":[0,0]}}""", 0,
        "more elements than a file can have")]
    [InlineData("""{"x":{"dtype":"F32","shape":[2147483647],"data_offsets":[0,8589934588]}}""", 4,
        "ends at byte 8589934588 of the data, which has 4")]
    [InlineData("""{"x":{"dtype":"F32","shape":[1073741824],"data_offsets":[0,4294967296]}}""", 4,
        "ends at byte 4294967296 of the data, which has 4")]
    [InlineData("""{"x":{"dtype":"F32","shape":[1],"data_offsets":[0]}}""", 4, "1 data_offsets, expected 2")]
    [InlineData("""{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4,8]}}""", 4, "3 data_offsets, expected 2")]
    [InlineData("""{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}}""", 8, "takes 4 bytes")]
    [InlineData("""{"x":{"dtype":"I64","shape":[1],"data_offsets":[0,4]}}""", 4, "takes 8 bytes")]
    [InlineData("""{"x":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}""", 4, "takes 4 bytes")]
    [InlineData("""{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,9223372036854775807]}}""", 4, "takes 4 bytes")]
    [InlineData("""{"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "neither overlap nor leave gaps")]
    [InlineData("""{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4,
        "neither overlap nor leave gaps")]
    [InlineData("""{"x":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"y":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8,
        "neither overlap nor leave gaps")]
    [InlineData("""{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"y":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}}""", 12,
        "neither overlap nor leave gaps")]
    [InlineData("""{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"x":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8,
        "'x' twice")]
    [InlineData("""{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"\u0078":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8,
        "'x' twice")]
    [InlineData("""{"x":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, "its dtype twice")]
    [InlineData("""{"x":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"more":1}}""", 4, "a field 'more'")]
    [InlineData("""{"x":{"dtype":"F32","shape":[[1]],"data_offsets":[0,4]}}""", 4, "JSON")]
    [InlineData("""{"__metadata__":{"a":1}}""", 0, "expected String")]
    [InlineData("""{"__metadata__":{"a":"1","a":"1"}}""", 0, "'a' twice")]
    [InlineData("""{"__metadata__":{},"__metadata__":{}}""", 0, "'__metadata__' twice")]
    [InlineData("""{"__metadata__":[]}""", 0, "expected StartObject")]
    [InlineData("""{"\ud800":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}""", 0, "JSON")]
    public void MalformedHeader_IsRefused(string header, int data, string reason) => Refused(Assemble(header, new byte[data]), reason);

    [Fact]
    public void DeepHeader_IsRefused() =>
        Refused(Assemble("{\"x\":{\"dtype\":" + new string('[', 100_000) + new string(']', 100_000) + "}}", []), "expected String");

    [Fact]
    public void InvalidUtf8_IsRefused()
    {
        byte[] bytes = Assemble("""{"x":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}""", []);
        bytes[8 + 2] = 0xff;
        Refused(bytes, "JSON");
    }

    [Theory]
    [InlineData(0xffff_ffff_ffff_ffffUL)]
    [InlineData(0x8000_0000_0000_0000UL)]
    [InlineData(0x7fff_ffff_ffff_ffffUL)]
    [InlineData(0x0000_0001_0000_0002UL)]
    [InlineData(3UL)]
    public void HeaderLongerThanTheFile_IsRefusedBeforeMemoryIsTaken(ulong length)
    {
        byte[] bytes = Assemble("{}", []);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, length);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Refused(bytes, "header should take");
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
    }

    [Fact]
    public void LyingShapes_TakeNoMemory()
    {
        byte[] bytes = Assemble("""{"x":{"dtype":"F32","shape":[1000000000],"data_offsets":[0,4000000000]}}""", new byte[4]);
        long before = GC.GetAllocatedBytesForCurrentThread();
        Refused(bytes, "ends at byte 4000000000");
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, 1 << 20);
    }

    [Fact]
    public void MissingFile_IsNotFound() => Assert.Throws<FileNotFoundException>(() => SafetensorsFile.Load(FilePath));

    [Fact]
    public void WrongName_Type_OrShape_IsRefusedWhenItIsAskedFor()
    {
        var file = new SafetensorsFile();
        file.Add("f", [2, 3], new float[6]);
        file.Add("i", [1L, 2L]);
        Assert.Contains("'g'", Assert.Throws<CheckpointException>(() => file.ShapeOf("g")).Message, StringComparison.Ordinal);
        Assert.Contains("'g'", Assert.Throws<CheckpointException>(() => { file.Floats("g"); }).Message, StringComparison.Ordinal);
        Assert.Equal(("F32", "I64"), (file.TypeOf("f"), file.TypeOf("i")));
        Assert.Equal((true, false), (file.HoldsFloats("f"), file.HoldsFloats("i")));
        Assert.Contains("[2, 3], expected [3, 2]", Assert.Throws<CheckpointException>(() => { file.Floats("f", [3, 2]); }).Message,
            StringComparison.Ordinal);
        Assert.Contains("'f' is F32", Assert.Throws<CheckpointException>(() => { file.Integers("f", 6); }).Message,
            StringComparison.Ordinal);
        Assert.Contains("[2], expected [3]", Assert.Throws<CheckpointException>(() => { file.Integers("i", 3); }).Message,
            StringComparison.Ordinal);
    }

    [Fact]
    public void TakenReservedOrMisshapenTensors_AreNotAdded()
    {
        var file = new SafetensorsFile();
        file.Add("x", [1L]);
        Assert.Throws<ArgumentException>(() => file.Add("x", [1], [1f]));
        Assert.Throws<ArgumentException>(() => file.Add("__metadata__", [1], [1f]));
        Assert.Throws<ArgumentException>(() => file.Add("y", [2], [1f]));
        Assert.Throws<ArgumentNullException>(() => file.Add(null!, [2L]));
        Assert.Equal(["x"], file.Names);
    }

    [Fact]
    public void FailedSave_LeavesTheOldFileAndNoOther()
    {
        byte[] old = SavedSample();
        var file = new SafetensorsFile();
        file.Add("x", [1], [1f]);
        file.Metadata[SafetensorsFile.ChecksumKey] = "00000000";
        Assert.Throws<ArgumentException>(() => file.Save(FilePath));
        file.Metadata.Remove(SafetensorsFile.ChecksumKey);
        file.Metadata["null"] = null!;
        Assert.Throws<ArgumentException>(() => file.Save(FilePath));
        file.Metadata["null"] = "\ud800";
        Assert.Throws<ArgumentException>(() => file.Save(FilePath));
        file.Metadata.Clear();
        file.Add("\udc00", [1L]);
        Assert.Throws<ArgumentException>(() => file.Save(FilePath));
        Assert.Equal(old, File.ReadAllBytes(FilePath));
        Assert.Equal([FilePath], Directory.GetFileSystemEntries(_folder));
    }

    [Fact]
    public void SaveOverAFolder_FailsAndLeavesNoOtherFile()
    {
        string target = Path.Combine(_folder, "folder");
        Directory.CreateDirectory(target);
        File.WriteAllText(Path.Combine(target, "kept"), "");
        Assert.ThrowsAny<Exception>(() => new SafetensorsFile().Save(target));
        Assert.Equal([target], Directory.GetFileSystemEntries(_folder));
        Assert.True(File.Exists(Path.Combine(target, "kept")));
    }

    [Fact]
    public void SaveIntoAMissingFolder_Fails() =>
        Assert.Throws<DirectoryNotFoundException>(() => new SafetensorsFile().Save(Path.Combine(_folder, "missing", "file")));

    [Fact]
    public void Save_ReplacesALongerFile()
    {
        File.WriteAllBytes(FilePath, new byte[100_000]);
        new SafetensorsFile().Save(FilePath);
        Assert.Empty(SafetensorsFile.Load(FilePath, requireChecksum: true).Names);
        Assert.Equal([FilePath], Directory.GetFileSystemEntries(_folder));
    }

    /// <summary>More than one piece of reading and writing, and a length that is no multiple of a piece.</summary>
    [Fact]
    public void LargeTensors_SurviveARoundTrip()
    {
        float[] elements = new float[(1 << 20) + 3];
        for (int i = 0; i < elements.Length; i++)
            elements[i] = i;
        var file = new SafetensorsFile();
        file.Add("x", [elements.Length], elements);
        file.Save(FilePath);
        Compare.SameBits("x", SafetensorsFile.Load(FilePath, requireChecksum: true).Floats("x"), elements);
    }

    [Theory]
    [InlineData("adam", 5)]
    [InlineData("commit", 10)]
    [InlineData("scan-linear-backward", 19)]
    [InlineData("self-modifying-l2", 13)]
    public void GoldenFiles_AreRead(string name, int tensors)
    {
        SafetensorsFile file = SafetensorsFile.Load(SharedFiles.GoldenFile(name));
        Assert.Equal(tensors, file.Names.Count);
        Assert.All(file.Names, n => Compare.Finite(n, file.Floats(n)));
        Assert.Contains("op", file.Metadata);
    }

    [Theory]
    [InlineData("BF16", new ushort[] { 0x3F80, 0xC020, 0x0001, 0x7F80, 0x7FC0, 0x8000 },
        new[] { 1f, -2.5f, 9.1835e-41f, float.PositiveInfinity, float.NaN, -0f })]
    [InlineData("F16", new ushort[] { 0x3C00, 0xC100, 0x0001, 0x7C00, 0x7E00, 0x8000 },
        new[] { 1f, -2.5f, 5.9604645e-8f, float.PositiveInfinity, float.NaN, -0f })]
    public void HalfPrecision_IsReadAsFloat32(string type, ushort[] bits, float[] expected)
    {
        // More than one piece of the reader, and another tensor behind.
        const int Repeats = 20_000;
        int count = bits.Length * Repeats;
        byte[] data = [.. Enumerable.Repeat(bits.SelectMany(BitConverter.GetBytes), Repeats).SelectMany(b => b),
            .. BitConverter.GetBytes(7f)];
        Write(Assemble(
            $$$"""{"x":{"dtype":"{{{type}}}","shape":[{{{count}}}],"data_offsets":[0,{{{2 * count}}}]},""" +
            $$$""" "y":{"dtype":"F32","shape":[1],"data_offsets":[{{{2 * count}}},{{{2 * count + 4}}}]}}""", data));
        SafetensorsFile file = SafetensorsFile.Load(FilePath);
        float[] actual = file.Floats("x", [count]).ToArray();
        for (int i = 0; i < count; i++)
            Assert.Equal(expected[i % bits.Length], actual[i]);
        Assert.True(float.IsNegative(actual[5]));
        Assert.Equal(7f, file.Floats("y")[0]);
    }

    private static byte[] Assemble(string header, byte[] data)
    {
        byte[] json = Encoding.UTF8.GetBytes(header);
        byte[] bytes = new byte[8 + json.Length + data.Length];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, (ulong)json.Length);
        json.CopyTo(bytes, 8);
        data.CopyTo(bytes, 8 + json.Length);
        return bytes;
    }

    private byte[] SavedSample()
    {
        var file = new SafetensorsFile { Metadata = { ["step"] = "12" } };
        file.Add("weight", [2, 3], [1f, -2f, 3f, -4f, 5f, -6f]);
        file.Add("bias", [3], [0.5f, 0, -0.5f]);
        file.Add("clock", [12L, 3L]);
        file.Save(FilePath);
        return File.ReadAllBytes(FilePath);
    }

    private void Write(byte[] bytes) => File.WriteAllBytes(FilePath, bytes);

    private void Refused(byte[] bytes, string reason)
    {
        Write(bytes);
        CheckpointException e = Assert.Throws<CheckpointException>(() => SafetensorsFile.Load(FilePath));
        Assert.Contains(reason, e.Message, StringComparison.Ordinal);
    }
}
