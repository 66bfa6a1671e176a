using System.Diagnostics.CodeAnalysis;

namespace NestedLearning.Gpu.Cuda;

// The self-modifying scan in hand-written CUDA, a chunk after the other: what S_c makes of its tokens, then the scan of that chunk
// with θ = η, ε = η or 2η and writes of v S_c.
internal sealed unsafe partial class CudaBackend
{
    public override void SelfModifyingForward(
        in SelfModifyingInputs inputs, SelfModifyingSettings settings, in SelfModifyingOutputs outputs)
    {
        if (!CanRun(inputs, settings, outputs, out string? reason))
        {
            FallBack(reason);
            base.SelfModifyingForward(inputs, settings, outputs);
            return;
        }

        using var workspace = new Workspace(this);
        var chunk = new ChunkOfHeads(this, workspace, inputs, settings);
        ChunkPlan plan = settings.Plan(inputs.Time);
        float* saved = Pointer(outputs.ChunkStates);
        // An empty sequence is one of no tokens, which copies the states.
        for (int c = 0; c < Math.Max(plan.Count, 1); c++)
        {
            float* before = c == 0 ? Pointer(inputs.S0) : Pointer(outputs.S);
            float* start = plan.Phase > 0 && c == 0 ? Pointer(inputs.ChunkStart) : null;
            chunk.Project(c, start is null ? before : start, chunk.State);
            LaunchScanForward(chunk.Scan(c, start) with
            {
                S0 = before,
                O = Pointer(outputs.O) + chunk.Row(c),
                S = Pointer(outputs.S),
                States = saved is null ? null : saved + (c * chunk.State),
                StateChunks = plan.Count,
                NextStart = c >= plan.Count - 1 ? Pointer(outputs.ChunkStart) : null,
            });
        }
    }

    public override void SelfModifyingBackward(
        in SelfModifyingInputs inputs, SelfModifyingSettings settings, Tensor chunkStates,
        in SelfModifyingOutputGradients upstream, in SelfModifyingGradients gradients)
    {
        if (!CanRunBackward(inputs, settings, out string? reason))
        {
            FallBack(reason);
            base.SelfModifyingBackward(inputs, settings, chunkStates, upstream, gradients);
            return;
        }

        using var workspace = new Workspace(this);
        var chunk = new ChunkOfHeads(this, workspace, inputs, settings);
        ChunkPlan plan = settings.Plan(inputs.Time);
        int heads = inputs.Batch * inputs.Heads;
        float* dS = gradients.S0 is null ? Take(workspace, heads * chunk.State) : Pointer(gradients.S0);
        float* dStart = plan.Phase == 0 ? null
            : gradients.ChunkStart is null ? Take(workspace, heads * chunk.State)
            : Pointer(gradients.ChunkStart);
        var rows = new RowGradients(workspace, heads * chunk.Length, inputs.Dim);
        for (int c = Math.Max(plan.Count, 1) - 1; c >= 0; c--)
        {
            bool isLast = c >= plan.Count - 1;
            float* start = plan.Phase > 0 && c == 0 ? Pointer(inputs.ChunkStart) : null;
            float* states = Pointer(chunkStates) + (c * chunk.State);
            float* frozen = start is null ? states : start;
            long frozenHead = start is null ? plan.Count * chunk.State : chunk.State;
            chunk.Project(c, frozen, frozenHead);
            using (var products = new Workspace(this))
            {
                LaunchScanBackward(products, chunk.Scan(c, start) with
                {
                    States = states,
                    StateChunks = plan.Count,
                    DO = upstream.O is null ? null : Pointer(upstream.O) + chunk.Row(c),
                    DS = isLast ? Pointer(upstream.S) : dS,
                    DNextStart = isLast ? Pointer(upstream.ChunkStart) : null,
                    DQ = gradients.Q is null ? null : Pointer(gradients.Q) + chunk.Row(c),
                    DK = rows.K,
                    DValues = rows.V,
                    DLogAlpha = rows.LogAlpha,
                    DErase = rows.Erase,
                    DTheta = rows.Theta,
                    DS0 = dS,
                    DStart = start is null ? null : dStart,
                });
            }

            float* dX = gradients.X is null ? null : Pointer(gradients.X) + chunk.Row(c);
            chunk.ProjectBackward(c, frozen, frozenHead, rows, dX, start is null ? dS : dStart);
        }
    }

    private bool CanRun(
        in SelfModifyingInputs inputs, SelfModifyingSettings settings, in SelfModifyingOutputs outputs,
        [NotNullWhen(false)] out string? reason)
    {
        if (IsDecoded(inputs.Time, outputs.ChunkStates))
        {
            reason = $"{inputs.Time} tokens whose states are not saved are few enough for ILGPU's two launches a chunk";
            return false;
        }

        return CanRun(SelfModifyingKernels.File, out reason) && CanRun(ScanKernels.File, out reason)
            && Takes(inputs, settings, out reason) && Fits(SharedBytes(inputs.Dim), Blocks(inputs, settings), out reason);
    }

    private bool CanRunBackward(in SelfModifyingInputs inputs, SelfModifyingSettings settings, [NotNullWhen(false)] out string? reason) =>
        CanRun(SelfModifyingKernels.File, out reason) && CanRun(ScanKernels.File, out reason)
        && CanRun(ScanKernels.BackwardFile, out reason)
        && Takes(inputs, settings, out reason) && Fits(SharedBytesBackward(inputs.Dim), Blocks(inputs, settings), out reason);

    private static bool Takes(in SelfModifyingInputs inputs, SelfModifyingSettings settings, [NotNullWhen(false)] out string? reason)
    {
        reason = inputs.Dim > SelfModifyingKernels.MaxDim ? $"keys have {inputs.Dim} elements and can have {SelfModifyingKernels.MaxDim}"
            : settings.Chunk > SelfModifyingKernels.Chunk ? $"chunks have {settings.Chunk} tokens and can have {SelfModifyingKernels.Chunk}"
            : null;
        return reason is null;
    }

    // The most of a launch.
    private static int SharedBytes(int dim) =>
        Math.Max(SelfModifyingKernels.ProjectSharedBytes(dim), ScanKernels.SharedBytes(dim, momentum: false));

    // The same of the gradient, whose first launches are the forward pass' own.
    private static int SharedBytesBackward(int dim) => Math.Max(
        SelfModifyingKernels.ProjectSharedBytes(dim),
        Math.Max(SelfModifyingKernels.ProjectBackwardSharedBytes(dim), BackwardSharedBytes(dim, momentum: false)));

    // The most of a launch, forward or backward.
    private static long Blocks(in SelfModifyingInputs inputs, SelfModifyingSettings settings)
    {
        int count = settings.Plan(inputs.Time).Longest;
        long ofTokens = Math.Max(
            SelfModifyingKernels.ProjectBlocks(1, count), SelfModifyingKernels.ProjectBackwardBlocks(1, inputs.Dim, count, true));
        long ofState = StateBlocks(1, SelfModifyingSettings.StateColumns(inputs.Dim), ScanKernels.WritesColumns);
        return (long)inputs.Batch * inputs.Heads * Math.Max(ofTokens, ofState);
    }

    /// <summary>Gradients of what the projections made of a chunk's tokens.</summary>
    private readonly struct RowGradients(Workspace workspace, long tokens, int dim)
    {
        public readonly float* K = Take(workspace, tokens * dim), V = Take(workspace, tokens * dim);
        public readonly float* LogAlpha = Take(workspace, tokens), Erase = Take(workspace, tokens), Theta = Take(workspace, tokens);
    }

    /// <summary>One chunk of every head at a time: its tokens, [B, Length, H, ·], in memory that the next chunk takes over.</summary>
    private sealed class ChunkOfHeads
    {
        private readonly CudaBackend _backend;
        private readonly SelfModifyingInputs _inputs;
        private readonly SelfModifyingSettings _settings;
        private readonly ChunkPlan _plan;
        private readonly float* _k, _v, _theta, _erase, _logAlpha, _inverseNorms, _gateInputs;

        public ChunkOfHeads(CudaBackend backend, Workspace workspace, in SelfModifyingInputs inputs, SelfModifyingSettings settings)
        {
            (_backend, _inputs, _settings, _plan) = (backend, inputs, settings, settings.Plan(inputs.Time));
            long tokens = (long)inputs.Batch * Length * inputs.Heads;
            _k = Take(workspace, tokens * inputs.Dim);
            _v = Take(workspace, tokens * inputs.Dim);
            _theta = Take(workspace, tokens);
            _erase = Take(workspace, tokens);
            _logAlpha = Take(workspace, tokens);
            _inverseNorms = Take(workspace, 2 * tokens);
            _gateInputs = Take(workspace, 2 * tokens);
        }

        /// <summary>The most tokens of a chunk.</summary>
        public int Length => _plan.Longest;

        /// <summary>Elements of a head's state.</summary>
        public long State => (long)_inputs.Dim * SelfModifyingSettings.StateColumns(_inputs.Dim);

        private int Heads => _inputs.Batch * _inputs.Heads;

        /// <summary>Where a chunk's tokens begin in a tensor [B, T, H, D].</summary>
        public long Row(int c) => (long)_plan.Start(c) * _inputs.Heads * _inputs.Dim;

        /// <summary>Keys, values and gates of a chunk, by S_c of each head at such a distance from each other.</summary>
        public void Project(int c, float* s, long sHead)
        {
            if (Count(c) == 0)
                return;
            _backend.Launch(
                SelfModifyingKernels.Project[(int)_backend.TensorCores], SelfModifyingKernels.ProjectBlocks(Heads, Count(c)),
                SelfModifyingKernels.Threads, SelfModifyingKernels.ProjectSharedBytes(_inputs.Dim), new SelfModifyingProjectArguments
                {
                    Chunk = Chunk(c, s, sHead),
                    Theta = _theta,
                    Erase = _erase,
                    LogAlpha = _logAlpha,
                    EtaBias = _settings.EtaBias,
                    AlphaBias = _settings.AlphaBias,
                    NormEpsilon = SelfModifyingSettings.NormEpsilon,
                });
        }

        /// <summary>dX of a chunk, and dS_c += what its projections took of it.</summary>
        public void ProjectBackward(int c, float* s, long sHead, in RowGradients rows, float* dX, float* dS)
        {
            if (Count(c) == 0)
                return;
            _backend.Launch(
                SelfModifyingKernels.ProjectBackward[(int)_backend.TensorCores],
                SelfModifyingKernels.ProjectBackwardBlocks(Heads, _inputs.Dim, Count(c), dX is not null),
                SelfModifyingKernels.Threads, SelfModifyingKernels.ProjectBackwardSharedBytes(_inputs.Dim),
                new SelfModifyingProjectBackwardArguments
                {
                    Chunk = Chunk(c, s, sHead),
                    DK = rows.K,
                    DV = rows.V,
                    DTheta = rows.Theta,
                    DErase = rows.Erase,
                    DLogAlpha = rows.LogAlpha,
                    DX = dX,
                    DS = dS,
                });
        }

        /// <summary>The scan of a chunk alone; start is S_c where that is not the state before its first token.</summary>
        public ScanArguments Scan(int c, float* start) => new()
        {
            Q = Pointer(_inputs.Q) + Row(c),
            K = _k,
            Values = _v,
            LogAlpha = _logAlpha,
            Erase = _erase,
            Theta = _theta,
            Start = start,
            ReadTokens = _inputs.Time,
            WriteTokens = Length,
            Batch = _inputs.Batch,
            Time = Count(c),
            Heads = _inputs.Heads,
            KeyDim = _inputs.Dim,
            ValueDim = SelfModifyingSettings.StateColumns(_inputs.Dim),
            Chunk = _settings.Chunk,
            Phase = c == 0 ? _plan.Phase : 0,
            ReadFirst = 2 * _inputs.Dim,
            ReadDim = _inputs.Dim,
            Read = (int)_settings.Read,
            Frozen = _settings.WritesFrozenError ? 1 : 0,
            Scale = 1,
        };

        private SelfModifyingChunk Chunk(int c, float* s, long sHead) => new()
        {
            X = Pointer(_inputs.X) + Row(c),
            S = s,
            K = _k,
            V = _v,
            InverseNorms = _inverseNorms,
            GateInputs = _gateInputs,
            XBatch = (long)_inputs.Time * _inputs.Heads,
            SHead = sHead,
            Heads = _inputs.Heads,
            Dim = _inputs.Dim,
            Rows = Length,
            Count = Count(c),
            Flags = _settings.Flags,
            EraseFactor = _settings.EraseFactor,
            EtaScale = _settings.EtaScale,
        };

        private int Count(int c) => _plan.Count == 0 ? 0 : _plan.Length(c);
    }
}
