using System.Numerics;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>Where the gradients of one head's tokens go; null is not wanted.</summary>
internal struct ScanHeadGradients<T>
    where T : unmanaged
{
    public Rows<T> Q, K, U, LogAlpha, Erase, Mu, Theta;

    /// <summary>dS0, dP0 and the gradient to S_c of a chunk that began before the sequence.</summary>
    public ScanStates<T> Initial;
}

/// <summary>
/// The scan's gradient token by token from the last (docs/specification.md, section 1), float or double: chunk by chunk,
/// the states of each computed again from the saved start, a block of columns at a time.
/// </summary>
internal unsafe struct ScanBackward<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    private readonly ScanHead<T> _head;
    private readonly ScanHeadGradients<T> _gradients;
    private readonly ScanStates<T> _upstream;
    private readonly Rows<T> _dO;

    // dS, dP and dS_c of every block; S and P before each token of the chunk and after its last; a row for each token of
    // w, of k S and of what θ multiplies.
    private readonly T* _ds, _dp, _dStart, _states, _momenta, _began, _w, _answers, _targets;

    // [chunk, Dk] and [chunk].
    private readonly T* _dq, _dk, _dAlpha, _dErase, _dMu, _dTheta;

    public ScanBackward(in ScanHead<T> head, Rows<T> dO, ScanStates<T> upstream, in ScanHeadGradients<T> gradients, T* scratch)
    {
        _head = head;
        _gradients = gradients;
        _upstream = upstream;
        _dO = dO;
        int size = head.BlockSize, n = head.Plan.Longest;
        nint all = (nint)head.Blocks * size, states = (n + 1) * (nint)size;
        _ds = scratch;
        _dp = _ds + all;
        _dStart = _dp + all;
        _began = _dStart + all;
        _states = _began + size;
        _momenta = _states + states;
        _w = _momenta + (head.HasMomentum ? states : 0);
        _answers = _w + n * Columns<T>.Count;
        _targets = _answers + n * Columns<T>.Count;
        _dq = _targets + n * Columns<T>.Count;
        _dk = _dq + n * head.KeyDim;
        _dAlpha = _dk + n * head.KeyDim;
        _dErase = _dAlpha + n;
        _dMu = _dErase + n;
        _dTheta = _dMu + n;
        if (!head.HasMomentum)
            _dp = _momenta = null;
    }

    /// <summary>Elements of scratch memory.</summary>
    public static nint ScratchLength(in ScanHead<T> head)
    {
        nint n = head.Plan.Longest, states = (n + 1) * head.BlockSize * (head.HasMomentum ? 2 : 1);
        return (3 * (nint)head.Blocks + 1) * head.BlockSize + states + n * (3 * Columns<T>.Count + 2 * head.KeyDim + 4);
    }

    public readonly void Run()
    {
        ChunkPlan plan = _head.Plan;
        for (int block = 0; block < _head.Blocks; block++)
        {
            nint at = (nint)block * _head.BlockSize;
            _head.Load(_upstream.S, block, _ds + at);
            if (_dp != null)
                _head.Load(_upstream.P, block, _dp + at);
            _head.Load(_upstream.ChunkStart, block, _dStart + at);
            if (plan.NextPhase == 0)
                JoinStart(at);
        }

        for (int index = plan.Count - 1; index >= 0; index--)
            Chunk(index);

        for (int block = 0; block < _head.Blocks; block++)
        {
            nint at = (nint)block * _head.BlockSize;
            _head.Store(_ds + at, block, _gradients.Initial.S);
            if (_dp != null)
                _head.Store(_dp + at, block, _gradients.Initial.P);
            _head.Store(_dStart + at, block, _gradients.Initial.ChunkStart);
        }
    }

    // What flows into a chunk's start joins dS there.
    private readonly void JoinStart(nint at)
    {
        for (nint i = at; i < at + _head.BlockSize; i += Columns<T>.Count)
        {
            (Columns<T>.Load(_ds + i) + Columns<T>.Load(_dStart + i)).Store(_ds + i);
            default(Columns<T>).Store(_dStart + i);
        }
    }

    private readonly void Chunk(int index)
    {
        ChunkPlan plan = _head.Plan;
        int first = plan.Start(index), length = plan.Length(index);
        new Span<T>(_dq, plan.Longest * (2 * _head.KeyDim + 4)).Clear();
        for (int block = 0; block < _head.Blocks; block++)
        {
            nint at = (nint)block * _head.BlockSize;
            T* start = _states;
            _head.Load(_head.SavedS.From((nint)index * _head.KeyDim, 0), block, _states);
            if (_momenta != null)
                _head.Load(_head.SavedP.From((nint)index * _head.KeyDim, 0), block, _momenta);
            if (plan.BeganBefore(index))
            {
                _head.Load(_head.Initial.ChunkStart, block, _began);
                start = _began;
            }

            Recompute(start, first, length, block * Columns<T>.Count);
            for (int t = length - 1; t >= 0; t--)
                Token(start, first, t, block);
            if (!plan.BeganBefore(index))
                JoinStart(at);
            Columns<T>.Flush(_ds + at, _head.BlockSize);
            Columns<T>.Flush(_dStart + at, _head.BlockSize);
            if (_dp != null)
                Columns<T>.Flush(_dp + at, _head.BlockSize);
        }

        StoreRows(new(_dq, _head.KeyDim), length, _head.KeyDim, _gradients.Q.From(first));
        StoreRows(new(_dk, _head.KeyDim), length, _head.KeyDim, _gradients.K.From(first));
        StoreRows(new(_dAlpha, 1), length, 1, _gradients.LogAlpha.From(first));
        StoreRows(new(_dErase, 1), length, 1, _gradients.Erase.From(first));
        StoreRows(new(_dMu, 1), length, 1, _gradients.Mu.From(first));
        StoreRows(new(_dTheta, 1), length, 1, _gradients.Theta.From(first));
    }

    // The chunk's states, and each token's write and what it was made of.
    private readonly void Recompute(T* start, int first, int length, int column)
    {
        ref readonly ScanHead<T> head = ref _head;
        int rows = head.KeyDim, size = head.BlockSize;
        bool erases = !head.Erase.IsNull;
        Columns<T> ofKey = erases ? ScanMemory<T>.Answer(_states, rows, head.K[first]) : default;
        for (int t = 0; t < length; t++)
        {
            int token = first + t;
            T* s = _states + (nint)t * size, p = _momenta == null ? null : _momenta + (nint)t * size, k = head.K[token];
            Columns<T> w = Columns<T>.Load(head.U[token] + column, head.ValueDim - column);
            if (head.Write == ScanWrite.FrozenL2)
                w -= ScanMemory<T>.Answer(start, rows, k);
            w.Store(_targets + t * Columns<T>.Count);
            if (head.Write != ScanWrite.Given)
                w = *head.Theta[token] * w;
            if (erases)
            {
                ofKey.Store(_answers + t * Columns<T>.Count);
                w = w.Plus(-*head.Erase[token], ofKey);
            }

            w.Store(_w + t * Columns<T>.Count);
            T* nextKey = erases && t < length - 1 ? head.K[token + 1] : null;
            T mu = head.Gate(head.Mu, token, T.Zero);
            ScanMemory<T>.Write(s, p, s + size, p + size, rows, k, w, head.Alpha(token), mu, null, nextKey, out _, out ofKey);
        }
    }

    private readonly void Token(T* start, int first, int t, int block)
    {
        ref readonly ScanHead<T> head = ref _head;
        int rows = head.KeyDim, size = head.BlockSize, token = first + t, column = block * Columns<T>.Count, width = head.ValueDim - column;
        nint at = (nint)block * size;
        T* s = _states + (nint)t * size, p = _momenta == null ? null : _momenta + (nint)t * size;
        T* ds = _ds + at, dp = _dp == null ? null : _dp + at, dStart = _dStart + at;
        T* q = head.Q[token], k = head.K[token], dq = _dq + t * rows, dk = _dk + t * rows;
        T alpha = head.Alpha(token), theta = head.Gate(head.Theta, token, T.One);
        bool reads = !_dO.IsNull;
        Columns<T> dRead = reads ? head.Scale * Columns<T>.Load(_dO[token] + column, width) : default;

        if (reads && head.Read == ScanRead.After)
            ScanMemory<T>.AnswerBackward(s + size, ds, rows, q, dRead, dq);
        Columns<T> w = Columns<T>.Load(_w + t * Columns<T>.Count);
        T mu = head.Gate(head.Mu, token, T.Zero);
        Columns<T> dw = ScanMemory<T>.WriteBackward(
            s, p, ds, dp, rows, k, w, alpha, mu, !head.LogAlpha.IsNull, dk, out T dAlpha, out T dMu);
        if (!head.Erase.IsNull)
        {
            ScanMemory<T>.AnswerBackward(s, ds, rows, k, -*head.Erase[token] * dw, dk);
            _dErase[t] -= Columns<T>.Dot(dw, Columns<T>.Load(_answers + t * Columns<T>.Count));
        }

        Columns<T> dTarget = theta * dw;
        if (head.Write == ScanWrite.FrozenL2)
            ScanMemory<T>.AnswerBackward(start, dStart, rows, k, -T.One * dTarget, dk);
        if (reads && head.Read == ScanRead.Before)
            ScanMemory<T>.AnswerBackward(s, ds, rows, q, dRead, dq);
        if (reads && head.Read == ScanRead.ChunkStart)
            ScanMemory<T>.AnswerBackward(start, dStart, rows, q, dRead, dq);

        // d log α = α dα, which is 0 where α is.
        _dAlpha[t] += alpha * dAlpha;
        _dMu[t] += dMu;
        _dTheta[t] += Columns<T>.Dot(dw, Columns<T>.Load(_targets + t * Columns<T>.Count));
        if (!_gradients.U.IsNull)
            dTarget.Store(_gradients.U[token] + column, width);
    }
}
