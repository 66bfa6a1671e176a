using System.Buffers.Binary;
using System.Text;

namespace NestedLearning.Generator.Tests;

/// <summary>Reads which functions a 64-bit little-endian ELF shared library exports.</summary>
internal static class ElfExports
{
    private const uint DynamicSymbols = 11; // SHT_DYNSYM

    public static SortedSet<string> Read(string path)
    {
        byte[] file = File.ReadAllBytes(path);
        if (!file.AsSpan(0, 4).SequenceEqual("\u007FELF"u8) || file[4] != 2 || file[5] != 1)
            throw new InvalidDataException($"{path} is not a 64-bit little-endian ELF file.");
        long headers = Long(file, 0x28);
        int headerSize = Short(file, 0x3A);
        int count = Short(file, 0x3C);
        var exports = new SortedSet<string>(StringComparer.Ordinal);
        for (int i = 0; i < count; i++)
        {
            int header = (int)headers + i * headerSize;
            if (Int(file, header + 4) != DynamicSymbols)
                continue;
            int symbols = (int)Long(file, header + 0x18);
            int end = symbols + (int)Long(file, header + 0x20);
            int strings = (int)headers + (int)Int(file, header + 0x28) * headerSize;
            int names = (int)Long(file, strings + 0x18);
            for (int symbol = symbols; symbol < end; symbol += 24)
            {
                // Defined here (a section index other than 0) and not local (binding in the upper half of info).
                if (Short(file, symbol + 6) == 0 || file[symbol + 4] >> 4 == 0)
                    continue;
                int name = names + (int)Int(file, symbol);
                exports.Add(Encoding.ASCII.GetString(file, name, Array.IndexOf(file, (byte)0, name) - name));
            }
        }

        return exports;
    }

    private static int Short(byte[] file, int at) => BinaryPrimitives.ReadUInt16LittleEndian(file.AsSpan(at));

    private static uint Int(byte[] file, int at) => BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at));

    private static long Long(byte[] file, int at) => BinaryPrimitives.ReadInt64LittleEndian(file.AsSpan(at));
}
