using System.Numerics;

namespace NestedLearning.Operations;

/// <summary>One sequence's head in a self-modifying scan, float or double: token t is row t, a state D rows.</summary>
internal struct SelfModifyingHead<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    public Rows<T> X, Q;
    public int Dim;
    public SelfModifyingSettings Settings;
    public ChunkPlan Plan;

    /// <summary>S0, and S_c of a chunk that began before the sequence.</summary>
    public Rows<T> S0, ChunkStart;

    /// <summary>The memories before each chunk.</summary>
    public Rows<T> Saved;

    /// <summary>The columns [k | v], [mem] and [η | α] of the memories: of mem alone something is read.</summary>
    public const int Parts = 3;

    public readonly int Columns => SelfModifyingSettings.StateColumns(Dim);

    public static bool IsRead(int part) => part == 1;

    public readonly int First(int part) => part switch { 0 => 0, 1 => 2 * Dim, _ => 3 * Dim };

    /// <summary>
    /// The scan that a part of the memories is while a chunk lasts: S_c stands apart from its states, as if it had begun before.
    /// </summary>
    public readonly ScanHead<T> Part(int part, in SelfModifyingChunk<T> chunk, Rows<T> s, Rows<T> frozen)
    {
        int first = First(part);
        return new()
        {
            Q = Q.From(chunk.Start),
            K = chunk.K,
            U = chunk.U.From(0, first),
            LogAlpha = chunk.LogAlpha,
            Erase = chunk.Erase,
            KeyDim = Dim,
            ValueDim = part switch { 0 => 2 * Dim, 1 => Dim, _ => 2 },
            Scale = T.One,
            Read = Settings.Read,
            Write = ScanWrite.Given,
            Plan = ChunkPlan.Inside(chunk.Length),
            Initial = new(s.From(0, first), default, frozen.From(0, first)),
        };
    }
}
