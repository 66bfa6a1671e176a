using System.Globalization;
using System.Text;

namespace NestedLearning.CommandLine.Streaming.Tests;

/// <summary>Text for streams: lines of 8 bytes, every one only once, or sentences of made-up words.</summary>
internal static class Texts
{
    public static byte[] Lines(int count) =>
        Encoding.ASCII.GetBytes(string.Concat(Enumerable.Range(0, count)
        .Select(i => i.ToString("D7", CultureInfo.InvariantCulture) + "\n")));

    /// <summary>Lines of words over an alphabet; other alphabets are other languages.</summary>
    public static byte[] Words(string alphabet, int bytes, ulong seed)
    {
        var random = new CounterRandom(seed);
        var text = new StringBuilder();
        for (ulong i = 0; text.Length < bytes; i++)
        {
            // Neighbours in the alphabet follow one another: there is something to learn from pairs.
            int letter = random.Below(16 * i, alphabet.Length), length = 2 + random.Below(16 * i + 1, 5);
            for (ulong j = 0; j < (ulong)length; j++)
            {
                text.Append(alphabet[letter]);
                letter = (letter + 1 + random.Below(16 * i + 2 + j, 2)) % alphabet.Length;
            }

            text.Append(i % 9 == 8 ? '\n' : ' ');
        }

        return Encoding.ASCII.GetBytes(text.ToString(0, bytes));
    }

    /// <summary>Three phases: one language, another, and the first again.</summary>
    public static PhasePlan Plan(int bytes = 6000, ulong seed = 1) => PhasePlan.Create(
        [
            new PhaseText("letters", "words", Words("abcdefghijklmnop", PhasePlan.TextFor(bytes), seed)),
            new PhaseText("figures", "words", Words("0123456789", PhasePlan.TextFor(bytes + 777), seed + 1)),
            new PhaseText("letters again", "words", Words("abcdefghijklmnop", PhasePlan.TextFor(bytes), seed + 2)),
        ],
        bytes + 777);
}
