using System.Numerics;

namespace NestedLearning.Operations;

/// <summary>A memory, its momentum and S_c: rows of Dk each. What is null is not given, or not wanted.</summary>
internal readonly struct ScanStates<T>(Rows<T> s, Rows<T> p, Rows<T> chunkStart)
    where T : unmanaged
{
    public readonly Rows<T> S = s, P = p, ChunkStart = chunkStart;
}

/// <summary>One sequence's head in a scan, float or double, or some of its value columns: token t is row t of each.</summary>
internal unsafe struct ScanHead<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    public Rows<T> Q, K, U, LogAlpha, Erase, Mu, Theta;
    public int KeyDim, ValueDim;
    public T Scale;
    public ScanRead Read;
    public ScanWrite Write;
    public ChunkPlan Plan;
    public bool HasMomentum;

    /// <summary>S0, P0 and S_c of a chunk that began before the sequence.</summary>
    public ScanStates<T> Initial;

    /// <summary>The states before each chunk, Dk rows a chunk.</summary>
    public Rows<T> SavedS, SavedP;

    /// <summary>Whether S_c is read.</summary>
    public readonly bool ReadsChunkStart => Write == ScanWrite.FrozenL2 || Read == ScanRead.ChunkStart;

    public readonly T Alpha(int t)
    {
        if (LogAlpha.IsNull)
            return T.One;
        T alpha = T.Exp(*LogAlpha[t]);
        Columns<T>.Flush(&alpha, 1);
        return alpha;
    }

    public readonly T Gate(Rows<T> gate, int t, T absent) => gate.IsNull ? absent : *gate[t];

    /// <summary>Elements of a block of columns of S, and how many such blocks there are.</summary>
    public readonly int BlockSize => KeyDim * Columns<T>.Count;

    public readonly int Blocks => (ValueDim + Columns<T>.Count - 1) / Columns<T>.Count;

    /// <summary>A block's columns into contiguous rows, with zeros behind the last; zeros of what is null.</summary>
    public readonly void Load(Rows<T> state, int block, T* result)
    {
        int first = block * Columns<T>.Count, count = ValueDim - first;
        if (state.IsNull)
        {
            new Span<T>(result, BlockSize).Clear();
        }
        else if (count < Columns<T>.Count)
        {
            for (int i = 0; i < KeyDim; i++)
                Columns<T>.Load(state[i] + first, count).Store(result + i * Columns<T>.Count);
        }
        else
        {
            for (int i = 0; i < KeyDim; i++)
                Columns<T>.Load(state[i] + first).Store(result + i * Columns<T>.Count);
        }
    }

    /// <summary>A block's rows into the columns of a state, if it is wanted.</summary>
    public readonly void Store(T* rows, int block, Rows<T> state)
    {
        int first = block * Columns<T>.Count, count = ValueDim - first;
        if (state.IsNull)
            return;
        if (count < Columns<T>.Count)
        {
            for (int i = 0; i < KeyDim; i++)
                new Span<T>(rows + i * Columns<T>.Count, count).CopyTo(new Span<T>(state[i] + first, count));
        }
        else
        {
            for (int i = 0; i < KeyDim; i++)
                Columns<T>.Load(rows + i * Columns<T>.Count).Store(state[i] + first);
        }
    }
}
