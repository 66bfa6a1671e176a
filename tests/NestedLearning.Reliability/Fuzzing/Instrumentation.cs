using SharpFuzz;
using SharpFuzz.Common;

namespace NestedLearning.Reliability.Fuzzing;

/// <summary>
/// What an input reached: libraries in which SharpFuzz has put counters write, for each branch and the one before it, a count
/// into one map.
/// </summary>
internal sealed unsafe class Instrumentation
{
    private const int MapSize = 1 << 16;

    private static readonly string[] s_libraries = ["NestedLearning.dll", "NestedLearning.Models.dll", "nl.dll"];

    // Of the process: the libraries know one address.
    private static readonly byte[] s_map = GC.AllocateArray<byte>(MapSize, pinned: true);

    // The counts met so far, as bits for 1, 2, 3, 4–7, 8–15, 16–31, 32–127 and more.
    private readonly byte[] _seen = new byte[MapSize];

    /// <summary>Gives the libraries their map, without which none of their code can run.</summary>
    public static void Begin()
    {
        fixed (byte* map = s_map)
            Trace.SharedMem = map;
    }

    /// <summary>Branches met so far.</summary>
    public int Branches => _seen.Count(bits => bits != 0);

    /// <summary>Puts the counters into the libraries of a folder.</summary>
    public static int Apply(string folder)
    {
        foreach (string library in s_libraries)
            Fuzzer.Instrument(Path.Combine(folder, library), static _ => true, Options.Value);
        return 0;
    }

    public static void Clear()
    {
        s_map.AsSpan().Clear();
        Trace.PrevLocation = 0;
    }

    /// <summary>Whether something was reached, or so often, that never was before.</summary>
    public bool IsNew()
    {
        bool found = false;
        ReadOnlySpan<byte> map = s_map;
        for (int at = map.IndexOfAnyExcept((byte)0); at >= 0 && at < map.Length;)
        {
            int bit = Bit(map[at]);
            found |= (_seen[at] & bit) == 0;
            _seen[at] |= (byte)bit;
            int next = map[(at + 1)..].IndexOfAnyExcept((byte)0);
            at = next < 0 ? map.Length : at + 1 + next;
        }

        return found;
    }

    private static int Bit(byte count) => count switch
    {
        < 4 => 1 << (count - 1),
        < 8 => 8,
        < 16 => 16,
        < 32 => 32,
        < 128 => 64,
        _ => 128,
    };
}
