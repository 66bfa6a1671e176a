using System.Numerics;

namespace NestedLearning.Operations;

/// <summary>
/// The scan token by token (docs/specification.md, section 1), float or double. Blocks of columns do not depend on each
/// other; each goes through a chunk while it stays in the nearest cache, in one pass over it for each token: the pass that
/// writes token t answers the query that reads next, and the key of token t + 1.
/// </summary>
internal unsafe struct ScanForward<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    private readonly ScanHead<T> _head;
    private readonly ScanStates<T> _final;

    // Null where nothing is read.
    private readonly Rows<T> _o;
    private readonly T* _s, _p, _began, _start;

    public ScanForward(in ScanHead<T> head, ScanStates<T> final, Rows<T> o, T* scratch)
    {
        _head = head;
        _final = final;
        _o = o;
        nint all = (nint)head.Blocks * head.BlockSize;
        _s = scratch;
        _p = head.HasMomentum ? _s + all : null;
        _began = _s + 2 * all;
        _start = _began + all;
    }

    /// <summary>Elements of scratch memory.</summary>
    public static nint ScratchLength(in ScanHead<T> head) => (3 * (nint)head.Blocks + 1) * head.BlockSize;

    public readonly void Run()
    {
        ChunkPlan plan = _head.Plan;
        for (int block = 0; block < _head.Blocks; block++)
        {
            nint at = (nint)block * _head.BlockSize;
            _head.Load(_head.Initial.S, block, _s + at);
            if (_p != null)
                _head.Load(_head.Initial.P, block, _p + at);
            if (plan.Phase == 0)
                continue;
            _head.Load(_head.Initial.ChunkStart, block, _began + at);
            _head.Store(_began + at, block, _final.ChunkStart);
        }

        for (int index = 0; index < plan.Count; index++)
        {
            for (int block = 0; block < _head.Blocks; block++)
                Chunk(index, block);
        }

        for (int block = 0; block < _head.Blocks; block++)
        {
            nint at = (nint)block * _head.BlockSize;
            _head.Store(_s + at, block, _final.S);
            if (_p != null)
                _head.Store(_p + at, block, _final.P);
            if (plan.NextPhase == 0)
                _head.Store(_s + at, block, _final.ChunkStart);
        }
    }

    private readonly void Chunk(int index, int block)
    {
        ChunkPlan plan = _head.Plan;
        nint at = (nint)block * _head.BlockSize;
        T* s = _s + at, p = _p == null ? null : _p + at, start = s;
        _head.Store(s, block, _head.SavedS.From((nint)index * _head.KeyDim, 0));
        if (p != null)
            _head.Store(p, block, _head.SavedP.From((nint)index * _head.KeyDim, 0));
        if (plan.BeganBefore(index))
        {
            start = _began + at;
        }
        else if (_head.ReadsChunkStart)
        {
            new Span<T>(s, _head.BlockSize).CopyTo(new Span<T>(_start, _head.BlockSize));
            start = _start;
        }

        if (index == plan.Count - 1)
            _head.Store(start, block, _final.ChunkStart);
        Tokens(s, p, start, plan.Start(index), plan.Length(index), block * Columns<T>.Count);
        Columns<T>.Flush(s, _head.BlockSize);
        if (p != null)
            Columns<T>.Flush(p, _head.BlockSize);
    }

    private readonly void Tokens(T* s, T* p, T* start, int first, int length, int column)
    {
        ref readonly ScanHead<T> head = ref _head;
        int rows = head.KeyDim, width = head.ValueDim - column;
        bool erases = !head.Erase.IsNull, reads = !_o.IsNull;
        Columns<T> ofKey = erases ? ScanMemory<T>.Answer(s, rows, head.K[first]) : default;
        Columns<T> ofQuery = reads && head.Read == ScanRead.Before ? ScanMemory<T>.Answer(s, rows, head.Q[first]) : default;
        for (int t = first; t < first + length; t++)
        {
            bool last = t == first + length - 1;
            T* k = head.K[t], q = head.Q[t];
            Columns<T> w = Columns<T>.Load(head.U[t] + column, width);
            if (head.Write == ScanWrite.FrozenL2)
                w -= ScanMemory<T>.Answer(start, rows, k);
            if (head.Write != ScanWrite.Given)
                w = *head.Theta[t] * w;
            if (erases)
                w = w.Plus(-*head.Erase[t], ofKey);

            Columns<T> before = ofQuery;
            T* asks = head.Read switch
            {
                ScanRead.After when reads => q,
                ScanRead.Before when reads && !last => head.Q[t + 1],
                _ => null,
            };
            T* nextKey = erases && !last ? head.K[t + 1] : null;
            T mu = head.Gate(head.Mu, t, T.Zero);
            ScanMemory<T>.Write(s, p, s, p, rows, k, w, head.Alpha(t), mu, asks, nextKey, out ofQuery, out ofKey);
            if (!reads)
                continue;
            Columns<T> read = head.Read switch
            {
                ScanRead.After => ofQuery,
                ScanRead.Before => before,
                _ => ScanMemory<T>.Answer(start, rows, q),
            };
            (head.Scale * read).Store(_o[t] + column, width);
        }
    }
}
