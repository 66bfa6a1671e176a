using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    public override void ScanForward(in ScanInputs inputs, ScanSettings settings, in ScanOutputs outputs)
    {
        if (IsDecoded(inputs.Time, outputs.Saved.States))
        {
            Decode(inputs, settings, outputs);
            return;
        }

        bool momentum = inputs.Mu is not null;
        using var workspace = new Workspace(this);
        int dk = inputs.KeyDim, dv = inputs.ValueDim;
        ChunkPlan plan = settings.Plan(inputs.Time);
        Problems heads = Heads(inputs), states = heads with { Chunks = plan.Count };
        Matrix start = State(inputs.ChunkStart), last = State(outputs.S), lastP = State(outputs.P);
        if (plan.Count == 0)
        {
            CopyStates(heads, State(inputs.S0), last, dk, dv);
            if (momentum)
                CopyStates(heads, State(inputs.P0), lastP, dk, dv);
        }

        Matrix s = outputs.Saved.States is null ? Take(workspace, states, dk, dv) : State(outputs.Saved.States);
        Matrix p = !momentum ? default : outputs.Saved.Momenta is null ? Take(workspace, states, dk, dv) : State(outputs.Saved.Momenta);
        if (plan.Count > 0)
        {
            CopyStates(heads, State(inputs.S0), s, dk, dv);
            if (momentum)
                CopyStates(heads, State(inputs.P0), p, dk, dv);
        }

        foreach (ChunkRange range in Ranges(plan, heads))
        {
            MemoryChunks chunks = Prepared(inputs, settings, workspace, range);
            int first = range.FirstChunk;
            if (!chunks.WritesReadState)
                chunks.Write(Only(s, first), Only(p, first));
            for (int c = 0; c < range.Problems.Chunks; c++)
            {
                int here = first + c;
                bool isLast = here == plan.Count - 1;
                if (chunks.WritesReadState)
                    chunks.Write(Only(s, here), Only(p, here), c);
                chunks.Advance(c, Only(s, here), Only(p, here), isLast ? last : Only(s, here + 1), isLast ? lastP : Only(p, here + 1));
            }

            chunks.Read(Only(s, first), Only(p, first), range.Tokens(outputs.O));
        }

        if (outputs.ChunkStart is null)
            return;
        Matrix next = plan.NextPhase == 0 ? last : plan.Count == 0 || plan.BeganBefore(plan.Count - 1) ? start : Only(s, plan.Count - 1);
        CopyStates(heads, next, State(outputs.ChunkStart), dk, dv);
    }

    public override void ScanBackward(in ScanInputs inputs, ScanSettings settings, in ScanSaved saved, in ScanOutputGradients upstream,
        in ScanGradients gradients)
    {
        bool momentum = inputs.Mu is not null;
        using var workspace = new Workspace(this);
        int dk = inputs.KeyDim, dv = inputs.ValueDim;
        ChunkPlan plan = settings.Plan(inputs.Time);
        Problems heads = Heads(inputs), states = heads with { Chunks = Math.Max(plan.Count, 1) };
        Matrix s = State(saved.States), p = State(saved.Momenta), dNext = State(upstream.ChunkStart);
        Matrix dS0 = State(gradients.S0), dP0 = State(gradients.P0), dStart = State(gradients.ChunkStart);

        // dL/dS and dL/dP at the chunks' ends.
        Matrix dS = Take(workspace, states, dk, dv), dP = momentum ? Take(workspace, states, dk, dv) : default;
        int end = Math.Max(plan.Count - 1, 0);
        CopyStates(heads, State(upstream.S), Only(dS, end), dk, dv);
        if (momentum)
            CopyStates(heads, State(upstream.P), Only(dP, end), dk, dv);
        if (dNext.Given && plan.NextPhase == 0)
            AddStates(heads, dNext, Only(dS, end), dk, dv);
        if (dStart.Given)
            CopyStates(heads, plan.NextPhase != 0 && plan.Count <= 1 ? dNext : default, dStart, dk, dv);
        if (plan.Count == 0)
        {
            if (dS0.Given)
                CopyStates(heads, dS, dS0, dk, dv);
            if (dP0.Given)
                CopyStates(heads, dP, dP0, dk, dv);
        }

        foreach (ChunkRange range in Ranges(plan, heads).Reverse())
        {
            MemoryChunks chunks = Prepared(inputs, settings, workspace, range);
            int first = range.FirstChunk;
            Matrix sHere = Only(s, first), pHere = Only(p, first), dO = range.Tokens(upstream.O);
            chunks.Write(sHere, pHere);
            Matrix y = chunks.Take(range.Problems.Length, dv);
            for (int c = range.Problems.Chunks - 1; c >= 0; c--)
            {
                int here = first + c;
                Matrix previousS = here > 0 ? Only(dS, here - 1) : dS0, previousP = here > 0 ? Only(dP, here - 1) : dP0;
                chunks.WriteGradients(c, Only(dS, here), Only(dP, here), dO, y);
                chunks.RetreatStates(c, Only(dS, here), Only(dP, here), dO, y, previousS, previousP);
                if (here == plan.Count - 1 && plan.NextPhase != 0 && dNext.Given && previousS.Given && !plan.BeganBefore(here))
                    AddStates(heads, dNext, previousS, dk, dv);
            }

            if (plan.BeganBefore(first) && dStart.Given)
                chunks.AddStartGradients(dO, y, dStart);
            chunks.TokenGradients(sHere, pHere, Only(dS, first), Only(dP, first), dO, y, new ChunkBackwardArguments
            {
                DQ = range.Tokens(gradients.Q),
                DK = range.Tokens(gradients.K),
                DU = range.Tokens(gradients.U),
                DLogAlpha = range.Tokens(gradients.LogAlpha),
                DErase = range.Tokens(gradients.Erase),
                DMu = range.Tokens(gradients.Mu),
                DTheta = range.Tokens(gradients.Theta),
            });
        }
    }

    /// <summary>Whether a forward pass is of a few tokens whose states are not saved, which have kernels of their own.</summary>
    protected static bool IsDecoded(int time, Tensor? saved) => saved is null && time is > 0 and <= DecodeKernels.Tokens;

    // Such tokens in one launch.
    private void Decode(in ScanInputs inputs, ScanSettings settings, in ScanOutputs outputs)
    {
        int time = inputs.Time;
        Problems heads = Heads(inputs);
        bool momentum = inputs.Mu is not null;
        (int columns, int held) = DecodeTiles(inputs.KeyDim, inputs.ValueDim, momentum ? 2 : 1);
        Launch(DecodeKernels.Scan, (long)heads.Count * ((inputs.ValueDim + columns - 1) / columns), new ScanDecodeArguments
        {
            Problems = heads,
            Q = Tokens(inputs.Q, time),
            K = Tokens(inputs.K, time),
            U = Tokens(inputs.U, time),
            O = Tokens(outputs.O, time),
            LogAlpha = Tokens(inputs.LogAlpha, time),
            Erase = Tokens(inputs.Erase, time),
            Mu = Tokens(inputs.Mu, time),
            Theta = Tokens(inputs.Theta, time),
            S0 = State(inputs.S0),
            P0 = State(inputs.P0),
            S = State(outputs.S),
            P = State(outputs.P),
            ChunkStart = State(inputs.ChunkStart),
            NextChunkStart = State(outputs.ChunkStart),
            Tokens = time,
            KeyDim = inputs.KeyDim,
            ValueDim = inputs.ValueDim,
            Chunk = settings.Chunk,
            Phase = settings.Phase,
            NextPhase = settings.NextPhase(time),
            Columns = columns,
            Held = held,
            Momentum = momentum ? 1 : 0,
            Erases = inputs.Erase is not null ? 1 : 0,
            Frozen = settings.Write == ScanWrite.FrozenL2 ? 1 : 0,
            ReadsAfter = settings.Read == ScanRead.After ? 1 : 0,
            ReadsAtStart = settings.Read == ScanRead.ChunkStart ? 1 : 0,
            Scale = settings.Scale,
        });
    }

    /// <summary>Columns of a tile of so many states that are decoded together, and how many rows of it shared memory holds.</summary>
    private (int Columns, int Held) DecodeTiles(int rows, int columns, int states)
    {
        int width = 1;
        while (width < Math.Min(columns, Math.Min(DecodeKernels.Columns, _threads)))
            width *= 2;
        // Less than 8 would be less of a row than memory gives at once.
        while (width > 8 && (long)rows * width * states > DecodeKernels.Held)
            width /= 2;
        return (width, Math.Min(rows, DecodeKernels.Held / (width * states)));
    }

    private static Problems Heads(in ScanInputs inputs) => new()
    {
        Batches = inputs.Batch, Heads = inputs.Heads, Chunks = 1, Length = inputs.Time, Tokens = inputs.Time,
    };

    /// <summary>Chunks that follow each other at equal distances, from a chunk and its first token on.</summary>
    private readonly record struct ChunkRange(int FirstChunk, int FirstToken, Problems Problems)
    {
        public Matrix Tokens(Tensor? tensor) => IlgpuBackend.Tokens(tensor, Problems.Length).FromRow(FirstToken);
    }

    // A chunk that began before the sequence is shorter and has a start of its own, so it is a range by itself.
    private static ChunkRange[] Ranges(ChunkPlan plan, Problems heads)
    {
        if (plan.Count == 0)
            return [];
        if (plan.Phase == 0)
            return [Range(0, plan.Count)];
        return plan.Count == 1 ? [Range(0, 1)] : [Range(0, 1), Range(1, plan.Count - 1)];

        ChunkRange Range(int first, int count)
        {
            int start = plan.Start(first), tokens = plan.Start(first + count - 1) + plan.Length(first + count - 1) - start;
            return new(first, start, heads with { Chunks = count, Length = count == 1 ? tokens : plan.Chunk, Tokens = tokens });
        }
    }

    private MemoryChunks Prepared(in ScanInputs inputs, ScanSettings settings, Workspace workspace, ChunkRange range)
    {
        int dv = inputs.ValueDim;
        Matrix start = range.FirstChunk == 0 ? State(inputs.ChunkStart) : default;
        var chunks = new MemoryChunks(
            this, workspace, range.Problems, start, inputs.KeyDim, dv, 0, dv,
            momentum: inputs.Mu is not null, erases: inputs.Erase is not null, writesFrozenError: settings.Write == ScanWrite.FrozenL2,
            settings.Read, settings.Scale)
        {
            Q = range.Tokens(inputs.Q),
            K = range.Tokens(inputs.K),
            U = range.Tokens(inputs.U),
        };
        LaunchItems(ChunkKernels.Gates, (long)range.Problems.Count * range.Problems.Length, new ScanGateArguments
        {
            Problems = range.Problems,
            LogAlpha = range.Tokens(inputs.LogAlpha),
            Erase = range.Tokens(inputs.Erase),
            Mu = range.Tokens(inputs.Mu),
            Theta = range.Tokens(inputs.Theta),
            AlphaOut = chunks.Chunk.Alpha,
            EraseOut = chunks.Chunk.Erase,
            MuOut = chunks.Chunk.Mu,
            ThetaOut = chunks.Chunk.Theta,
        });
        chunks.Prepare();
        return chunks;
    }
}
