using System.Numerics;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>Memories and S_c, or the gradients to them: D rows each. What is null is zero, or not wanted.</summary>
internal readonly record struct SelfModifyingStates<T>(Rows<T> S, Rows<T> ChunkStart)
    where T : unmanaged;

/// <summary>
/// The self-modifying scan's gradient for one head (docs/specification.md, section 6), float or double: chunk by chunk from the last, each
/// computed again from its saved start.
/// </summary>
internal unsafe struct SelfModifyingBackward<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    private readonly SelfModifyingHead<T> _head;
    private readonly Rows<T> _dO, _resultX, _resultQ;
    private readonly SelfModifyingStates<T> _upstream, _results;

    // dS, and what has gathered for S_c [D, 3D + 2].
    private readonly Rows<T> _ds, _dStart;

    // For each token [dk | dlog α | dε]: of one part, and of all; du and dx.
    private readonly Rows<T> _dPart, _dTokens, _dU, _dx;
    private readonly T* _scan;
    private readonly nint _length;
    private SelfModifyingChunk<T> _chunk;

    public SelfModifyingBackward(in SelfModifyingHead<T> head, Rows<T> dO, in SelfModifyingStates<T> upstream, Rows<T> resultX,
        Rows<T> resultQ, in SelfModifyingStates<T> results, T* scratch)
    {
        var arena = new ScratchArena<T>(scratch);
        _head = head;
        (_dO, _upstream, _resultX, _resultQ, _results) = (dO, upstream, resultX, resultQ, results);
        int n = head.Plan.Longest, dim = head.Dim;
        _ds = arena.Matrix(dim, head.Columns);
        _dStart = arena.Matrix(dim, head.Columns);
        _dPart = arena.Matrix(n, dim + 2);
        _dTokens = arena.Matrix(n, dim + 2);
        _dU = arena.Matrix(n, head.Columns);
        _dx = arena.Matrix(n, dim);
        _chunk = new SelfModifyingChunk<T>(ref arena, head, backward: true);
        _scan = arena.Vector(nint.Max(
            ScanBackward<T>.ScratchLength(head.Part(0, _chunk, default, default)),
            ScanBackward<T>.ScratchLength(head.Part(2, _chunk, default, default))));
        _length = arena.Length;
    }

    /// <summary>Elements of scratch memory.</summary>
    public static nint ScratchLength(in SelfModifyingHead<T> head) =>
        new SelfModifyingBackward<T>(head, default, default, default, default, default, null)._length;

    public void Run()
    {
        ChunkPlan plan = _head.Plan;
        int dim = _head.Dim, columns = _head.Columns;
        LoadRows(_upstream.S, dim, columns, _ds);
        LoadRows(_upstream.ChunkStart, dim, columns, _dStart);
        if (plan.NextPhase == 0)
            JoinStart();
        for (int index = plan.Count - 1; index >= 0; index--)
        {
            Rows<T> s = _head.Saved.From((nint)index * dim), frozen = plan.BeganBefore(index) ? _head.ChunkStart : s;
            _chunk.Load(plan.Start(index), plan.Length(index), frozen);
            Clear(_dTokens, _chunk.Length, dim + 2);
            for (int part = 0; part < SelfModifyingHead<T>.Parts; part++)
                Part(part, s, frozen);
            _chunk.Backward(_dTokens, _dTokens.From(0, dim), _dTokens.From(0, dim + 1), _dU, _dx, _dStart);
            StoreRows(_dx, _chunk.Length, dim, _resultX.From(_chunk.Start));
            if (!plan.BeganBefore(index))
                JoinStart();
        }

        StoreRows(_ds, dim, columns, _results.S);
        StoreRows(_dStart, dim, columns, _results.ChunkStart);
    }

    private readonly void Part(int part, Rows<T> s, Rows<T> frozen)
    {
        int first = _head.First(part), dim = _head.Dim;
        bool isRead = SelfModifyingHead<T>.IsRead(part);
        ScanHead<T> scan = _head.Part(part, _chunk, s, frozen);
        scan.SavedS = scan.Initial.S;
        var dStates = new ScanStates<T>(_ds.From(0, first), default, _dStart.From(0, first));
        var gradients = new ScanHeadGradients<T>
        {
            Q = isRead ? _resultQ.From(_chunk.Start) : default,
            K = _dPart,
            LogAlpha = _dPart.From(0, dim),
            Erase = _dPart.From(0, dim + 1),
            U = _dU.From(0, first),
            Initial = dStates,
        };
        new ScanBackward<T>(scan, isRead ? _dO.From(_chunk.Start) : default, dStates, gradients, _scan).Run();
        for (int t = 0; t < _chunk.Length; t++)
            AddScaled(_dPart[t], T.One, dim + 2, _dTokens[t]);
    }

    // What flows into a chunk's start joins dS there.
    private readonly void JoinStart()
    {
        for (int i = 0; i < _head.Dim; i++)
            AddScaled(_dStart[i], T.One, _head.Columns, _ds[i]);
        Clear(_dStart, _head.Dim, _head.Columns);
    }
}
