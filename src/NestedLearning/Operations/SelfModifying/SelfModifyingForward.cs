using System.Numerics;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>The self-modifying scan of one head (docs/specification.md, section 6), float or double, a chunk's tokens one by one.</summary>
internal unsafe struct SelfModifyingForward<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    private readonly SelfModifyingHead<T> _head;
    private readonly Rows<T> _o, _s, _finalStart;
    private readonly T* _scan;
    private readonly nint _length;
    private SelfModifyingChunk<T> _chunk;

    /// <param name="head">What is read.</param>
    /// <param name="o">Reads.</param>
    /// <param name="s">The final memories, in which the pass works; may be S0.</param>
    /// <param name="finalStart">S_c of the chunk that the next token belongs to; null is not wanted, and may be that of the head.</param>
    /// <param name="scratch">Scratch memory.</param>
    public SelfModifyingForward(in SelfModifyingHead<T> head, Rows<T> o, Rows<T> s, Rows<T> finalStart, T* scratch)
    {
        var arena = new ScratchArena<T>(scratch);
        _head = head;
        _o = o;
        _s = s;
        _finalStart = finalStart;
        _chunk = new SelfModifyingChunk<T>(ref arena, head, backward: false);
        _scan = arena.Vector(nint.Max(
            ScanForward<T>.ScratchLength(head.Part(0, _chunk, default, default)),
            ScanForward<T>.ScratchLength(head.Part(2, _chunk, default, default))));
        _length = arena.Length;
    }

    /// <summary>Elements of scratch memory.</summary>
    public static nint ScratchLength(in SelfModifyingHead<T> head) =>
        new SelfModifyingForward<T>(head, default, default, default, null)._length;

    public void Run()
    {
        ChunkPlan plan = _head.Plan;
        Store(_head.S0, _s);
        if (plan.Count == 0 && plan.Phase > 0)
            Store(_head.ChunkStart, _finalStart);
        for (int index = 0; index < plan.Count; index++)
        {
            Rows<T> frozen = plan.BeganBefore(index) ? _head.ChunkStart : _s;
            Store(_s, _head.Saved.From((nint)index * _head.Dim));
            if (index == plan.Count - 1)
                Store(frozen, _finalStart);
            _chunk.Load(plan.Start(index), plan.Length(index), frozen);
            for (int part = 0; part < SelfModifyingHead<T>.Parts; part++)
            {
                ScanHead<T> scan = _head.Part(part, _chunk, _s, frozen);
                Rows<T> o = SelfModifyingHead<T>.IsRead(part) ? _o.From(_chunk.Start) : default;
                new ScanForward<T>(scan, new(scan.Initial.S, default, default), o, _scan).Run();
            }
        }

        if (plan.NextPhase == 0)
            Store(_s, _finalStart);
    }

    private readonly void Store(Rows<T> state, Rows<T> result)
    {
        if (!result.IsNull)
            CopyRows(state, _head.Dim, _head.Columns, result);
    }
}
