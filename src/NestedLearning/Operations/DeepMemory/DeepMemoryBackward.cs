using System.Numerics;
using System.Numerics.Tensors;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>Where the gradients of one head go; null is not wanted.</summary>
internal struct DeepMemoryHeadGradients<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    public Rows<T> Q, K, V, LogAlpha, Theta, Erase, Mu;

    /// <summary>Those of the state before the first token, and of W_c of a chunk that began before the sequence.</summary>
    public DeepMemoryWeights<T> Initial, ChunkStart;
}

/// <summary>
/// A deep memory's gradient for one head (docs/specification.md, section 2), float or double: chunk by chunk from the last, each computed
/// again from its saved start.
/// </summary>
internal unsafe struct DeepMemoryBackward<T, TActivation>
    where T : unmanaged, IFloatingPointIeee754<T>
    where TActivation : struct, IDeepMemoryActivation<T>
{
    private readonly DeepMemoryHead<T> _head;
    private readonly Rows<T> _dO;
    private readonly DeepMemoryWeights<T> _upstream, _upstreamStart;
    private readonly DeepMemoryHeadGradients<T> _results;

    // The gradients of the state, and what has gathered for W_c.
    private readonly DeepMemoryWeights<T> _dState, _dStart;

    // What layer 1 reads with before its activation, then φ' of it, and after; and their gradients [n, N].
    private readonly Rows<T> _read, _queries, _dQueries;

    // Gradients of keys, writes and, in rows of three, [log α | ε | μ] of each layer; and of all tokens.
    private readonly Rows<T> _dKey1, _dKey2, _dU1, _dU2, _dGates1, _dGates2, _dq, _dk, _dv, _dTheta;
    private readonly T* _scan;
    private readonly nint _length;
    private DeepMemoryChunk<T, TActivation> _chunk;

    public DeepMemoryBackward(in DeepMemoryHead<T> head, Rows<T> dO, in DeepMemoryWeights<T> upstream,
        in DeepMemoryWeights<T> upstreamStart, in DeepMemoryHeadGradients<T> results, T* scratch)
    {
        var arena = new ScratchArena<T>(scratch);
        _head = head;
        (_dO, _upstream, _upstreamStart, _results) = (dO, upstream, upstreamStart, results);
        int n = head.Plan.Longest, dim = head.Dim, hidden = head.Hidden;
        _dState = DeepMemoryWeights<T>.Of(ref arena, head, head.HasMomentum);
        _dStart = DeepMemoryWeights<T>.Of(ref arena, head, momentum: false);
        _read = arena.Matrix(n, hidden);
        _queries = arena.Matrix(n, hidden);
        _dQueries = arena.Matrix(n, hidden);
        _dKey1 = arena.Matrix(n, hidden);
        _dKey2 = arena.Matrix(n, dim);
        _dU1 = arena.Matrix(n, dim);
        _dU2 = arena.Matrix(n, hidden);
        _dGates1 = arena.Matrix(n, 3);
        _dGates2 = arena.Matrix(n, 3);
        _dq = arena.Matrix(n, dim);
        _dk = arena.Matrix(n, dim);
        _dv = arena.Matrix(n, dim);
        _dTheta = arena.Matrix(n, 1);
        _chunk = new(ref arena, head, backward: true);
        ScanHead<T> layer1 = head.Layer1(_chunk, default, default, default), layer2 = head.Layer2(_chunk, default, default);
        _scan = arena.Vector(nint.Max(
            ScanForward<T>.ScratchLength(layer2),
            nint.Max(ScanBackward<T>.ScratchLength(layer1), ScanBackward<T>.ScratchLength(layer2))));
        _length = arena.Length;
    }

    /// <summary>Elements of scratch memory.</summary>
    public static nint ScratchLength(in DeepMemoryHead<T> head) =>
        new DeepMemoryBackward<T, TActivation>(head, default, default, default, default, null)._length;

    public void Run()
    {
        ChunkPlan plan = _head.Plan;
        int dim = _head.Dim, hidden = _head.Hidden;
        _upstream.CopyTo(_dState, dim, hidden);
        _upstreamStart.CopyTo(_dStart, dim, hidden);
        if (plan.NextPhase == 0)
            JoinStart();
        for (int index = plan.Count - 1; index >= 0; index--)
        {
            DeepMemoryWeights<T> state = _head.SavedAt(index), frozen = plan.BeganBefore(index) ? _head.ChunkStart : state;
            _chunk.Load(plan.Start(index), plan.Length(index), frozen);
            Layers(state, frozen);
            _chunk.Backward(_dKey1, _dKey2, _dU1, _dU2, _dk, _dv, _dTheta, _dStart);
            Store();
            if (!plan.BeganBefore(index))
                JoinStart();
        }

        _dState.StoreTo(_results.Initial, dim, hidden);
        _dStart.StoreTo(_results.ChunkStart, dim, hidden);
    }

    // The reads, from the output back: layer 1, its activation, layer 2.
    private readonly void Layers(in DeepMemoryWeights<T> state, in DeepMemoryWeights<T> frozen)
    {
        int n = _chunk.Length, dim = _head.Dim, count = n * _head.Hidden;
        Rows<T> dO = _dO.From(_chunk.Start);
        ScanHead<T> layer2 = _head.Layer2(_chunk, state, frozen);
        new ScanForward<T>(layer2, default, _read, _scan).Run();
        TActivation.Value(_read.Start, count, _queries.Start);
        ScanHead<T> layer1 = _head.Layer1(_chunk, _queries, state, frozen);
        Backward(layer1, dO, _dQueries, _dKey1, _dU1, _dGates1, new(_dState.W1, _dState.P1, _dStart.W1));
        TActivation.Slope(_read.Start, count, _read.Start);
        TensorPrimitives.Multiply<T>(Span(_dQueries.Start, count), Span(_read.Start, count), Span(_dQueries.Start, count));
        Rows<T> dRead = dO.IsNull ? default : _dQueries;
        Backward(layer2, dRead, _dq, _dKey2, _dU2, _dGates2, new(_dState.W2, _dState.P2, _dStart.W2));
        for (int t = 0; t < n; t++)
        {
            AddScaled(_dGates2[t], T.One, 3, _dGates1[t]);
            if (_head.Settings.Residual && !dO.IsNull)
                AddScaled(dO[t], T.One, dim, _dq[t]);
        }
    }

    private readonly void Backward(ScanHead<T> layer, Rows<T> dO, Rows<T> dQueries, Rows<T> dKeys, Rows<T> dU, Rows<T> dGates,
        ScanStates<T> dStates)
    {
        layer.SavedS = layer.Initial.S;
        layer.SavedP = layer.Initial.P;
        var gradients = new ScanHeadGradients<T>
        {
            Q = dQueries,
            K = dKeys,
            U = dU,
            LogAlpha = dGates,
            Erase = dGates.From(0, 1),
            Mu = dGates.From(0, 2),
            Initial = dStates,
        };
        new ScanBackward<T>(layer, dO, dStates, gradients, _scan).Run();
    }

    private readonly void Store()
    {
        int n = _chunk.Length, start = _chunk.Start;
        StoreRows(_dq, n, _head.Dim, _results.Q.From(start));
        StoreRows(_dk, n, _head.Dim, _results.K.From(start));
        StoreRows(_dv, n, _head.Dim, _results.V.From(start));
        StoreRows(_dGates1, n, 1, _results.LogAlpha.From(start));
        StoreRows(_dTheta, n, 1, _results.Theta.From(start));
        StoreRows(_dGates1.From(0, 1), n, 1, _results.Erase.From(start));
        StoreRows(_dGates1.From(0, 2), n, 1, _results.Mu.From(start));
    }

    // What flows into a chunk's start joins the gradients of the weights there.
    private readonly void JoinStart()
    {
        int size = _head.Dim * _head.Hidden;
        AddScaled(_dStart.W1.Start, T.One, size, _dState.W1.Start);
        AddScaled(_dStart.W2.Start, T.One, size, _dState.W2.Start);
        Span(_dStart.W1.Start, size).Clear();
        Span(_dStart.W2.Start, size).Clear();
    }
}
