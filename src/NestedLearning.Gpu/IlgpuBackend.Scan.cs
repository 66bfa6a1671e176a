using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal sealed partial class IlgpuBackend
{
    public override void ScanForward(in ScanInputs inputs, ScanSettings settings, in ScanOutputs outputs)
    {
        bool momentum = inputs.Mu is not null;
        using var workspace = new Workspace(this);
        Problems problems = ProblemsOf(inputs, settings);
        int dk = inputs.KeyDim, dv = inputs.ValueDim;
        Problems heads = problems with { Chunks = 1 };
        if (problems.Chunks == 0)
        {
            CopyStates(heads, State(inputs.S0), State(outputs.S), dk, dv);
            if (momentum)
                CopyStates(heads, State(inputs.P0), State(outputs.P), dk, dv);
            return;
        }

        MemoryChunks chunks = Prepared(inputs, settings, workspace, problems);
        Matrix s = outputs.Saved.States is null ? chunks.Take(dk, dv) : State(outputs.Saved.States);
        Matrix p = !momentum ? default : outputs.Saved.Momenta is null ? chunks.Take(dk, dv) : State(outputs.Saved.Momenta);
        CopyStates(heads, State(inputs.S0), s, dk, dv);
        if (momentum)
            CopyStates(heads, State(inputs.P0), p, dk, dv);
        if (!chunks.WritesReadState)
            chunks.Write(s, p);
        for (int c = 0; c < problems.Chunks; c++)
        {
            bool last = c == problems.Chunks - 1;
            Matrix sHere = Only(s, c), pHere = Only(p, c);
            if (chunks.WritesReadState)
                chunks.Write(sHere, pHere, c);
            chunks.Advance(c, sHere, pHere, last ? State(outputs.S) : Only(s, c + 1), last ? State(outputs.P) : Only(p, c + 1));
        }

        chunks.Read(s, p, Tokens(outputs.O, problems.Length));
    }

    public override void ScanBackward(in ScanInputs inputs, ScanSettings settings, in ScanSaved saved, in ScanOutputGradients upstream, in ScanGradients gradients)
    {
        bool momentum = inputs.Mu is not null;
        using var workspace = new Workspace(this);
        Problems problems = ProblemsOf(inputs, settings);
        int n = problems.Length, dk = inputs.KeyDim, dv = inputs.ValueDim;
        Problems heads = problems with { Chunks = 1 };
        Matrix dS0 = State(gradients.S0), dP0 = State(gradients.P0);
        if (problems.Chunks == 0)
        {
            if (dS0.Given)
                CopyStates(heads, State(upstream.S), dS0, dk, dv);
            if (dP0.Given)
                CopyStates(heads, State(upstream.P), dP0, dk, dv);
            return;
        }

        MemoryChunks chunks = Prepared(inputs, settings, workspace, problems);
        Matrix s = State(saved.States), p = State(saved.Momenta);
        chunks.Write(s, p);

        // dL/dS and dL/dP at the chunks' ends.
        Matrix dS = chunks.Take(dk, dv), dP = momentum ? chunks.Take(dk, dv) : default, y = chunks.Take(n, dv);
        Matrix dO = Tokens(upstream.O, n);
        CopyStates(heads, State(upstream.S), Only(dS, problems.Chunks - 1), dk, dv);
        if (momentum)
            CopyStates(heads, State(upstream.P), Only(dP, problems.Chunks - 1), dk, dv);
        for (int c = problems.Chunks - 1; c >= 0; c--)
        {
            Matrix dSHere = Only(dS, c), dPHere = Only(dP, c);
            chunks.WriteGradients(c, dSHere, dPHere, dO, y);
            chunks.RetreatStates(c, dSHere, dPHere, dO, y, c > 0 ? Only(dS, c - 1) : dS0, c > 0 ? Only(dP, c - 1) : dP0);
        }

        chunks.TokenGradients(s, p, dS, dP, dO, y, new ChunkBackwardArguments
        {
            DQ = Tokens(gradients.Q, n),
            DK = Tokens(gradients.K, n),
            DU = Tokens(gradients.U, n),
            DLogAlpha = Tokens(gradients.LogAlpha, n),
            DErase = Tokens(gradients.Erase, n),
            DMu = Tokens(gradients.Mu, n),
            DTheta = Tokens(gradients.Theta, n),
        });
    }

    private static Problems ProblemsOf(in ScanInputs inputs, ScanSettings settings) => new()
    {
        Batches = inputs.Batch,
        Heads = inputs.Heads,
        Chunks = settings.Chunks(inputs.Time),
        Length = Math.Min(settings.Chunk, inputs.Time),
        Tokens = inputs.Time,
    };

    private MemoryChunks Prepared(in ScanInputs inputs, ScanSettings settings, Workspace workspace, Problems problems)
    {
        int n = problems.Length, dv = inputs.ValueDim;
        var chunks = new MemoryChunks(
            this, workspace, problems, inputs.KeyDim, dv, 0, dv,
            momentum: inputs.Mu is not null, erases: inputs.Erase is not null, frozen: settings.Write == ScanWrite.FrozenL2,
            readsAfter: settings.Read == ScanRead.After, settings.Scale)
        {
            Q = Tokens(inputs.Q, n),
            K = Tokens(inputs.K, n),
            U = Tokens(inputs.U, n),
        };
        LaunchItems(ChunkKernels.Gates, (long)problems.Count * n, new ScanGateArguments
        {
            Problems = problems,
            LogAlpha = Tokens(inputs.LogAlpha, n),
            Erase = Tokens(inputs.Erase, n),
            Mu = Tokens(inputs.Mu, n),
            Theta = Tokens(inputs.Theta, n),
            AlphaOut = chunks.Chunk.Alpha,
            EraseOut = chunks.Chunk.Erase,
            MuOut = chunks.Chunk.Mu,
            ThetaOut = chunks.Chunk.Theta,
        });
        chunks.Prepare();
        return chunks;
    }
}
