using System.Numerics;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>A deep memory over one head (docs/specification.md, section 2), float or double, a chunk's tokens one by one.</summary>
internal unsafe struct DeepMemoryForward<T, TActivation>
    where T : unmanaged, IFloatingPointIeee754<T>
    where TActivation : struct, IDeepMemoryActivation<T>
{
    private readonly DeepMemoryHead<T> _head;
    private readonly Rows<T> _o;
    private readonly DeepMemoryWeights<T> _state, _finalStart;

    // φ(q W2) [n, N].
    private readonly Rows<T> _queries;
    private readonly T* _scan;
    private readonly nint _length;
    private DeepMemoryChunk<T, TActivation> _chunk;

    /// <param name="head">What is read.</param>
    /// <param name="o">Reads.</param>
    /// <param name="state">The final state, in which the pass works; may be the initial one.</param>
    /// <param name="finalStart">W_c of the chunk that the next token belongs to; null is not wanted, and may be that of the head.</param>
    /// <param name="scratch">Scratch memory.</param>
    public DeepMemoryForward(in DeepMemoryHead<T> head, Rows<T> o, in DeepMemoryWeights<T> state, in DeepMemoryWeights<T> finalStart,
        T* scratch)
    {
        var arena = new ScratchArena<T>(scratch);
        _head = head;
        (_o, _state, _finalStart) = (o, state, finalStart);
        _chunk = new(ref arena, head, backward: false);
        _queries = arena.Matrix(head.Plan.Longest, head.Hidden);
        _scan = arena.Vector(nint.Max(
            ScanForward<T>.ScratchLength(head.Layer1(_chunk, default, default, default)),
            ScanForward<T>.ScratchLength(head.Layer2(_chunk, default, default))));
        _length = arena.Length;
    }

    /// <summary>Elements of scratch memory.</summary>
    public static nint ScratchLength(in DeepMemoryHead<T> head) =>
        new DeepMemoryForward<T, TActivation>(head, default, default, default, null)._length;

    public void Run()
    {
        ChunkPlan plan = _head.Plan;
        int dim = _head.Dim, hidden = _head.Hidden;
        _head.Initial.CopyTo(_state, dim, hidden);
        if (plan.Count == 0 && plan.Phase > 0)
            _head.ChunkStart.CopyTo(_finalStart, dim, hidden);
        for (int index = 0; index < plan.Count; index++)
        {
            DeepMemoryWeights<T> frozen = plan.BeganBefore(index) ? _head.ChunkStart : _state;
            _state.CopyTo(_head.SavedAt(index), dim, hidden);
            if (index == plan.Count - 1)
                frozen.CopyTo(_finalStart, dim, hidden);
            _chunk.Load(plan.Start(index), plan.Length(index), frozen);
            Reads(frozen);
        }

        if (plan.NextPhase == 0)
            _state.CopyTo(_finalStart, dim, hidden);
    }

    // o = q + φ(q W2) W1, and the state after the chunk's tokens.
    private readonly void Reads(in DeepMemoryWeights<T> frozen)
    {
        int n = _chunk.Length;
        Rows<T> o = _o.From(_chunk.Start), q = _head.Q.From(_chunk.Start);
        new ScanForward<T>(_head.Layer2(_chunk, _state, frozen), new(_state.W2, _state.P2, default), _queries, _scan).Run();
        TActivation.Value(_queries.Start, n * _head.Hidden, _queries.Start);
        new ScanForward<T>(_head.Layer1(_chunk, _queries, _state, frozen), new(_state.W1, _state.P1, default), o, _scan).Run();
        if (!_head.Settings.Residual)
            return;
        for (int t = 0; t < n; t++)
        {
            AddScaled(q[t], T.One, _head.Dim, o[t]);
            Columns<T>.Flush(o[t], _head.Dim);
        }
    }
}
