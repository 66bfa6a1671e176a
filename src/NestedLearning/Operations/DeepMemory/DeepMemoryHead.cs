using System.Numerics;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>The weights of a head and their momenta, or gradients to them, as rows. What is null is zero, or not wanted.</summary>
internal readonly record struct DeepMemoryWeights<T>(Rows<T> W1, Rows<T> W2, Rows<T> P1 = default, Rows<T> P2 = default)
    where T : unmanaged, IFloatingPointIeee754<T>
{
    /// <summary>Scratch memory for those of a head.</summary>
    public static DeepMemoryWeights<T> Of(ref ScratchArena<T> arena, in DeepMemoryHead<T> head, bool momentum) => new(
        arena.Matrix(head.Hidden, head.Dim),
        arena.Matrix(head.Dim, head.Hidden),
        momentum ? arena.Matrix(head.Hidden, head.Dim) : default,
        momentum ? arena.Matrix(head.Dim, head.Hidden) : default);

    /// <summary>Copies all that is wanted.</summary>
    public void CopyTo(in DeepMemoryWeights<T> result, int dim, int hidden)
    {
        Copy(W1, hidden, dim, result.W1);
        Copy(W2, dim, hidden, result.W2);
        Copy(P1, hidden, dim, result.P1);
        Copy(P2, dim, hidden, result.P2);
    }

    /// <summary>Copies all that is wanted, flushed.</summary>
    public void StoreTo(in DeepMemoryWeights<T> result, int dim, int hidden)
    {
        StoreRows(W1, hidden, dim, result.W1);
        StoreRows(W2, dim, hidden, result.W2);
        StoreRows(P1, hidden, dim, result.P1);
        StoreRows(P2, dim, hidden, result.P2);
    }

    private static void Copy(Rows<T> source, int rows, int columns, Rows<T> result)
    {
        if (!result.IsNull)
            LoadRows(source, rows, columns, result);
    }
}

/// <summary>φ of a deep memory and its derivatives, of each of so many elements.</summary>
internal unsafe interface IDeepMemoryActivation<T>
    where T : unmanaged
{
    /// <summary>y = φ(x).</summary>
    static abstract void Value(T* x, int count, T* y);

    /// <summary>y = φ'(x).</summary>
    static abstract void Slope(T* x, int count, T* y);

    /// <summary>y = φ''(x).</summary>
    static abstract void Curvature(T* x, int count, T* y);
}

/// <summary>One sequence's head in a deep memory, float or double: token t is row t.</summary>
internal struct DeepMemoryHead<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    public Rows<T> Q, K, V, LogAlpha, Theta, Erase, Mu;
    public int Dim, Hidden;
    public DeepMemorySettings Settings;
    public ChunkPlan Plan;

    /// <summary>The state before the first token, and W_c of a chunk that began before the sequence.</summary>
    public DeepMemoryWeights<T> Initial, ChunkStart;

    /// <summary>The state before each chunk, chunk after chunk.</summary>
    public DeepMemoryWeights<T> Saved;

    public readonly bool HasMomentum => !Mu.IsNull;

    /// <summary>The state saved before a chunk.</summary>
    public readonly DeepMemoryWeights<T> SavedAt(int index)
    {
        nint rows1 = (nint)index * Hidden, rows2 = (nint)index * Dim;
        return new(Saved.W1.From(rows1), Saved.W2.From(rows2), Saved.P1.From(rows1), Saved.P2.From(rows2));
    }

    /// <summary>
    /// Layer 1, W1 [N, D], while a chunk lasts: a scan whose W_c stands apart from its states, as if it had begun before.
    /// </summary>
    public readonly ScanHead<T> Layer1<TActivation>(in DeepMemoryChunk<T, TActivation> chunk, Rows<T> queries,
        in DeepMemoryWeights<T> state, in DeepMemoryWeights<T> frozen)
        where TActivation : struct, IDeepMemoryActivation<T> =>
        Layer(chunk.Start, chunk.Length, queries, chunk.Key1, chunk.U1, Hidden, Dim, new(state.W1, state.P1, frozen.W1));

    /// <summary>Layer 2, W2 [D, N], in the same way.</summary>
    public readonly ScanHead<T> Layer2<TActivation>(in DeepMemoryChunk<T, TActivation> chunk, in DeepMemoryWeights<T> state,
        in DeepMemoryWeights<T> frozen)
        where TActivation : struct, IDeepMemoryActivation<T> =>
        Layer(chunk.Start, chunk.Length, Q.From(chunk.Start), chunk.Key2, chunk.U2, Dim, Hidden, new(state.W2, state.P2, frozen.W2));

    private readonly ScanHead<T> Layer(int start, int length, Rows<T> q, Rows<T> k, Rows<T> u, int keyDim, int valueDim,
        ScanStates<T> states) => new()
        {
            Q = q,
            K = k,
            U = u,
            LogAlpha = LogAlpha.From(start),
            Erase = Erase.From(start),
            Mu = Mu.From(start),
            KeyDim = keyDim,
            ValueDim = valueDim,
            Scale = T.One,
            Read = Settings.Read,
            Write = ScanWrite.Given,
            Plan = ChunkPlan.Inside(length),
            HasMomentum = HasMomentum,
            Initial = states,
        };
}
