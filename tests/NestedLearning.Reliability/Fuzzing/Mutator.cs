using System.Text;

namespace NestedLearning.Reliability.Fuzzing;

/// <summary>Changes inputs at random: bits, bytes, numbers, words of the format, pieces of the input itself or of another.</summary>
internal sealed class Mutator(IReadOnlyList<string> words, int seed)
{
    private const int MostChanges = 8;

    // Beyond it an input is no longer than what it was made of.
    private const int Long = 4096;

    private static readonly string[] s_numbers =
    [
        "0", "1", "-1", "2", "63", "64", "65", "127", "255", "256", "65536", "1e9", "2147483647", "2147483648", "-2147483649", "4294967295",
        "4294967296", "9223372036854775807", "9223372036854775808", "18446744073709551615", "1e400", "0.5", "NaN", "Infinity", "-0",
        "1e-400",
    ];

    public Random Random { get; } = new(seed);

    public byte[] Change(byte[] input, byte[] other)
    {
        List<byte> bytes = [.. input];
        for (int changes = 1 + Random.Next(MostChanges); changes > 0; changes--)
            ChangeOnce(bytes, other);
        int longest = Math.Max(Long, input.Length);
        if (bytes.Count > longest)
            bytes.RemoveRange(longest, bytes.Count - longest);
        return [.. bytes];
    }

    private void ChangeOnce(List<byte> bytes, byte[] other)
    {
        int at = Random.Next(bytes.Count + 1);
        switch (Random.Next(10))
        {
            case 0 when at < bytes.Count:
                bytes[at] ^= (byte)(1 << Random.Next(8));
                break;
            case 1 when at < bytes.Count:
                bytes[at] = (byte)Random.Next(256);
                break;
            case 2 when at < bytes.Count:
                bytes[at] += (byte)(Random.Next(2) == 0 ? 1 : 255);
                break;
            case 3:
                Insert(bytes, at, [(byte)Random.Next(256)]);
                break;
            case 4:
                bytes.RemoveRange(at, Random.Next(Math.Min(16, bytes.Count - at) + 1));
                break;
            case 5:
                ReplaceNumber(bytes, at);
                break;
            case 6 when words.Count > 0:
                Insert(bytes, at, Encoding.UTF8.GetBytes(words[Random.Next(words.Count)]));
                break;
            case 7:
                Insert(bytes, at, Piece(bytes.ToArray()));
                break;
            case 8:
                Insert(bytes, at, Piece(other));
                break;
            default:
                byte[] piece = Piece(other);
                bytes.RemoveRange(at, Math.Min(piece.Length, bytes.Count - at));
                Insert(bytes, at, piece);
                break;
        }
    }

    // The digits at or behind a place.
    private void ReplaceNumber(List<byte> bytes, int at)
    {
        int first = bytes.FindIndex(at, b => b is >= (byte)'0' and <= (byte)'9');
        if (first < 0)
            return;
        int end = bytes.FindIndex(first, b => b is < (byte)'0' or > (byte)'9');
        bytes.RemoveRange(first, (end < 0 ? bytes.Count : end) - first);
        Insert(bytes, first, Encoding.UTF8.GetBytes(s_numbers[Random.Next(s_numbers.Length)]));
    }

    private static void Insert(List<byte> bytes, int at, byte[] piece) => bytes.InsertRange(at, piece);

    private byte[] Piece(byte[] of)
    {
        int first = Random.Next(of.Length + 1);
        return of[first..(first + Random.Next(Math.Min(64, of.Length - first) + 1))];
    }
}
