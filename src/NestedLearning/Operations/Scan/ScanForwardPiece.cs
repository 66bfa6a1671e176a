using System.Numerics.Tensors;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>
/// The scan's forward pass over a block of one head's value columns. Columns of S do not depend on each other given the
/// keys and gates, so few heads with wide values still make enough pieces.
/// </summary>
internal readonly unsafe struct ScanForwardPiece : IPieceAction
{
    // Enough heads for any processor that the managed backend is meant for; below it wide values are cut.
    private const int EnoughHeads = 8;
    private const int BlockColumns = 64;

    private readonly ScanInputs _inputs;
    private readonly ScanSettings _settings;
    private readonly ScanOutputs _outputs;
    private readonly int _blocks, _blockColumns;

    public ScanForwardPiece(in ScanInputs inputs, ScanSettings settings, in ScanOutputs outputs)
    {
        _inputs = inputs;
        _settings = settings;
        _outputs = outputs;
        int heads = inputs.Batch * inputs.Heads;
        _blockColumns = heads >= EnoughHeads ? inputs.ValueDim : BlockColumns;
        _blocks = Math.Max(1, (inputs.ValueDim + _blockColumns - 1) / Math.Max(1, _blockColumns));
        Pieces = heads * _blocks;
    }

    public int Pieces { get; }

    public void Invoke(int piece)
    {
        int head = piece / _blocks;
        int firstColumn = piece % _blocks * _blockColumns;
        int columns = Math.Min(_blockColumns, _inputs.ValueDim - firstColumn);
        int dk = _inputs.KeyDim, time = _inputs.Time;
        bool momentum = _inputs.Mu is not null;
        if (time == 1 && _outputs.Saved.States is null)
        {
            OneToken(head, firstColumn, columns);
            return;
        }

        var measure = new ScratchArena(null);
        Layout(ref measure, head, firstColumn, columns, out _, out _, out _, out _);
        var arena = new ScratchArena(Scratch.Take(measure.Length));
        Layout(ref arena, head, firstColumn, columns, out ScanChunk chunk, out MatrixView s, out MatrixView p, out MatrixView began);

        ChunkPlan plan = _settings.Plan(time);
        LoadState(_inputs.S0, head, firstColumn, columns, s);
        if (momentum)
            LoadState(_inputs.P0, head, firstColumn, columns, p);
        if (plan.Phase > 0)
        {
            LoadState(_inputs.ChunkStart, head, firstColumn, columns, began);
            Store(_outputs.ChunkStart, 0, began);
        }

        MatrixView o = HeadRows.Tokens(_outputs.O, head / _inputs.Heads, head % _inputs.Heads).FromColumn(firstColumn);
        for (int index = 0; index < plan.Count; index++)
        {
            bool beganBefore = plan.BeganBefore(index);
            MatrixView frozen = beganBefore ? began : s;
            Store(_outputs.Saved.States, index, s);
            if (momentum)
                Store(_outputs.Saved.Momenta, index, p);
            if (index == plan.Count - 1)
                Store(_outputs.ChunkStart, 0, frozen);
            chunk.Load(plan.Start(index), plan.Length(index), beganBefore);
            chunk.ComputeWrites(s, p, frozen);
            chunk.Read(s, p, frozen, o.FromRow(chunk.Start));
            chunk.Advance(s, p);
        }

        Store(_outputs.S, 0, s);
        Store(_outputs.P, 0, p);
        if (plan.NextPhase == 0)
            Store(_outputs.ChunkStart, 0, s);

        void Store(Tensor? states, int index, MatrixView state)
        {
            if (states is not null)
                CopyRows(state, states.Shape[^2], columns, HeadRows.State(states, head, index).FromColumn(firstColumn));
        }
    }

    // From S0 and P0 into S and P, row by row; the coefficients of a chunk of one token need no matrices.
    private void OneToken(int head, int firstColumn, int columns)
    {
        int batch = head / _inputs.Heads, dk = _inputs.KeyDim;
        head %= _inputs.Heads;
        float* q = HeadRows.Tokens(_inputs.Q, batch, head).Start, k = HeadRows.Tokens(_inputs.K, batch, head).Start;
        float* u = HeadRows.Tokens(_inputs.U, batch, head).FromColumn(firstColumn).Start;
        float* o = HeadRows.Tokens(_outputs.O, batch, head).FromColumn(firstColumn).Start;
        float alpha = Gate(_inputs.LogAlpha, 0, batch, head), theta = Gate(_inputs.Theta, 1, batch, head);
        float mu = Gate(_inputs.Mu, 0, batch, head), erase = Gate(_inputs.Erase, 0, batch, head);
        alpha = Subnormals.Flush(MathF.Exp(alpha));
        bool frozen = _settings.Write == ScanWrite.FrozenL2, beganBefore = _settings.Phase > 0;
        if (frozen && !beganBefore)
            erase += theta;

        int state = batch * _inputs.Heads + head;
        MatrixView s = HeadRows.State(_outputs.S, state).FromColumn(firstColumn), p = default;
        LoadState(_inputs.S0, state, firstColumn, columns, s);
        MatrixView began = beganBefore ? HeadRows.State(_inputs.ChunkStart, state).FromColumn(firstColumn) : s;
        MatrixView next = HeadRows.State(_outputs.ChunkStart, state).FromColumn(firstColumn);
        if (_outputs.P is not null)
        {
            p = HeadRows.State(_outputs.P, state).FromColumn(firstColumn);
            LoadState(_inputs.P0, state, firstColumn, columns, p);
        }

        float* w = Scratch.Take(columns);
        TensorPrimitives.Multiply(Span(u, columns), theta, Span(w, columns));
        if (erase != 0)
        {
            for (int i = 0; i < dk; i++)
                AddScaled(s.Row(i), -erase * k[i], columns, w);
        }

        if (frozen && beganBefore)
        {
            for (int i = 0; i < dk; i++)
                AddScaled(began.Row(i), -theta * k[i], columns, w);
        }

        Span(o, columns).Clear();
        for (int i = 0; i < dk; i++)
        {
            float* row = s.Row(i);
            float read = _settings.Scale * q[i];
            if (_settings.Read != ScanRead.After)
                AddScaled(_settings.Read == ScanRead.Before ? row : began.Row(i), read, columns, o);
            if (!next.IsNull)
                Span(began.Row(i), columns).CopyTo(Span(next.Row(i), columns));
            if (alpha != 1)
                TensorPrimitives.Multiply(Span(row, columns), alpha, Span(row, columns));
            if (p.IsNull)
            {
                AddScaled(w, k[i], columns, row);
            }
            else
            {
                TensorPrimitives.Multiply(Span(p.Row(i), columns), mu, Span(p.Row(i), columns));
                AddScaled(w, k[i], columns, p.Row(i));
                Subnormals.Flush(Span(p.Row(i), columns));
                TensorPrimitives.Add(Span(row, columns), Span(p.Row(i), columns), Span(row, columns));
            }

            Subnormals.Flush(Span(row, columns));
            if (_settings.Read == ScanRead.After)
                AddScaled(row, read, columns, o);
        }

        Subnormals.Flush(Span(o, columns));

        if (!next.IsNull && _settings.NextPhase(1) == 0)
            CopyRows(s, dk, columns, next);
    }

    private static float Gate(Tensor? gate, float absent, int batch, int head) =>
        gate is null ? absent : *HeadRows.Tokens(gate, batch, head).Start;

    private void Layout(ref ScratchArena arena, int head, int firstColumn, int columns, out ScanChunk chunk, out MatrixView s, out MatrixView p, out MatrixView began)
    {
        chunk = new ScanChunk(ref arena, _inputs, _settings, head, firstColumn, columns);
        s = arena.Matrix(_inputs.KeyDim, columns);
        p = arena.Matrix(_inputs.KeyDim, columns);
        began = _settings.Phase == 0 ? default : arena.Matrix(_inputs.KeyDim, columns);
    }

    private void LoadState(Tensor? source, int head, int firstColumn, int columns, MatrixView state)
    {
        if (source is null)
            Clear(state, _inputs.KeyDim, columns);
        else
            CopyRows(HeadRows.State(source, head).FromColumn(firstColumn), _inputs.KeyDim, columns, state);
    }
}
