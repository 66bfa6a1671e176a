using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    // Keys, values and gates of a chunk are made by the memory at its start, so chunks follow each other throughout.
    public override void SelfModifyingForward(in SelfModifyingInputs inputs, SelfModifyingSettings settings,
        in SelfModifyingOutputs outputs)
    {
        using var workspace = new Workspace(this);
        ChunkPlan plan = settings.Plan(inputs.Time);
        if (IsDecoded(inputs.Time, outputs.ChunkStates))
        {
            Decode(workspace, inputs, settings, outputs);
            return;
        }

        var chunk = new SelfModifyingChunk(this, workspace, inputs, settings);
        Matrix s = State(outputs.S), states = State(outputs.ChunkStates), o = Tokens(outputs.O, chunk.Length);
        Matrix start = State(inputs.ChunkStart), next = State(outputs.ChunkStart);
        if (inputs.S0.Storage != outputs.S.Storage)
            chunk.Copy(State(inputs.S0), s);
        if (next.Given && plan.Count == 0)
            chunk.Copy(plan.Phase > 0 ? start : s, next);
        for (int c = 0; c < plan.Count; c++)
        {
            Matrix frozen = plan.BeganBefore(c) ? start : default;
            if (states.Given)
                chunk.Copy(s, Only(states, c));
            using var scratch = new Workspace(this);
            MemoryChunks memory = chunk.Load(c, s, frozen, scratch);
            memory.Read(s, default, o.FromRow(plan.Start(c)));
            if (next.Given && c == plan.Count - 1)
                chunk.Copy(frozen.Given ? frozen : s, next);
            memory.Advance(0, s, default, s, default);
        }

        if (next.Given && plan.NextPhase == 0)
            chunk.Copy(s, next);
    }

    // A few tokens whose states are not saved: two launches for each chunk that has some of them.
    private void Decode(Workspace workspace, in SelfModifyingInputs inputs, SelfModifyingSettings settings, in SelfModifyingOutputs outputs)
    {
        ChunkPlan plan = settings.Plan(inputs.Time);
        int dim = inputs.Dim, stateColumns = SelfModifyingSettings.StateColumns(dim), time = inputs.Time;
        var heads = new Problems { Batches = inputs.Batch, Heads = inputs.Heads, Chunks = 1, Length = time, Tokens = time };
        (int columns, int held) = DecodeTiles(dim, stateColumns, 1);
        Matrix projections = Take(workspace, heads, plan.Longest, 2 * dim + 2);
        for (int c = 0; c < plan.Count; c++)
        {
            int first = plan.Start(c);
            bool isLast = c == plan.Count - 1;
            var arguments = new SelfModifyingDecodeArguments
            {
                Scan = new ScanDecodeArguments
                {
                    Problems = heads,
                    Q = Tokens(inputs.Q, time).FromRow(first),
                    O = Tokens(outputs.O, time).FromRow(first),
                    S0 = State(c == 0 ? inputs.S0 : outputs.S),
                    S = State(outputs.S),
                    ChunkStart = plan.BeganBefore(c) ? State(inputs.ChunkStart) : default,
                    NextChunkStart = isLast ? State(outputs.ChunkStart) : default,
                    Tokens = plan.Length(c),
                    KeyDim = dim,
                    ValueDim = stateColumns,
                    NextPhase = isLast ? plan.NextPhase : 0,
                    Columns = columns,
                    Held = held,
                    Frozen = settings.WritesFrozenError ? 1 : 0,
                    ReadsAfter = settings.Read == ScanRead.After ? 1 : 0,
                    ReadsAtStart = settings.Read == ScanRead.ChunkStart ? 1 : 0,
                },
                X = Tokens(inputs.X, time).FromRow(first),
                Projections = projections,
                Dim = dim,
                Rule = new SelfModifyingRule(settings),
            };
            Launch(DecodeKernels.Project, (long)heads.Count * ((2 * dim + 2 + columns - 1) / columns), arguments);
            Launch(DecodeKernels.SelfModifying, (long)heads.Count * ((stateColumns + columns - 1) / columns), arguments);
        }
    }

    public override void SelfModifyingBackward(in SelfModifyingInputs inputs, SelfModifyingSettings settings, Tensor chunkStates,
        in SelfModifyingOutputGradients upstream, in SelfModifyingGradients gradients)
    {
        using var workspace = new Workspace(this);
        ChunkPlan plan = settings.Plan(inputs.Time);
        var chunk = new SelfModifyingChunk(this, workspace, inputs, settings);
        Matrix states = State(chunkStates), dO = Tokens(upstream.O, chunk.Length), dNext = State(upstream.ChunkStart);
        Matrix dX = Tokens(gradients.X, chunk.Length), dQ = Tokens(gradients.Q, chunk.Length);
        Matrix dS = Take(workspace, chunk.Heads, chunk.Dim, chunk.Columns), dStart = State(gradients.ChunkStart);
        if (plan.Phase > 0 && !dStart.Given)
            dStart = Take(workspace, chunk.Heads, chunk.Dim, chunk.Columns);
        chunk.Copy(State(upstream.S), dS);
        if (dNext.Given && plan.NextPhase == 0)
            chunk.Add(dNext, dS);
        if (dStart.Given)
            chunk.Copy(plan.NextPhase != 0 && plan.Count <= 1 ? dNext : default, dStart);
        for (int c = plan.Count - 1; c >= 0; c--)
        {
            bool beganBefore = plan.BeganBefore(c);
            int first = plan.Start(c);
            using var scratch = new Workspace(this);
            chunk.Backward(
                c, Only(states, c), beganBefore ? State(inputs.ChunkStart) : default, dS, beganBefore ? dStart : default,
                dO.FromRow(first), dX.FromRow(first), dQ.FromRow(first), scratch);
            if (c == plan.Count - 1 && plan.NextPhase != 0 && dNext.Given && !beganBefore)
                chunk.Add(dNext, dS);
        }

        if (gradients.S0 is not null)
            chunk.Copy(dS, State(gradients.S0));
    }

    /// <summary>One chunk of every head: the scan's chunk with θ = η, ε = η or 2η and U = v S_c, and what makes its tokens.</summary>
    private sealed class SelfModifyingChunk
    {
        private readonly IlgpuBackend _backend;
        private readonly SelfModifyingInputs _inputs;
        private readonly SelfModifyingSettings _settings;
        private readonly Matrix _x, _q, _u, _projections, _gateInputs, _k, _inverseNorms;

        public SelfModifyingChunk(IlgpuBackend backend, Workspace workspace, in SelfModifyingInputs inputs, SelfModifyingSettings settings)
        {
            (_backend, _inputs, _settings) = (backend, inputs, settings);
            Length = Math.Min(settings.Chunk, inputs.Time);
            Heads = new Problems { Batches = inputs.Batch, Heads = inputs.Heads, Chunks = 1, Length = Length, Tokens = Length };
            _x = Tokens(inputs.X, Length);
            _q = Tokens(inputs.Q, Length);
            _u = Take(workspace, Heads, Length, Columns);
            _projections = Take(workspace, Heads, Length, 2 * Dim);
            _gateInputs = Take(workspace, Heads, Length, 2);
            _k = Take(workspace, Heads, Length, Dim);
            _inverseNorms = Take(workspace, Heads, Length, 2);
        }

        public int Dim => _inputs.Dim;

        public int Columns => SelfModifyingSettings.StateColumns(_inputs.Dim);

        public int Length { get; }

        /// <summary>A problem a head, with a whole chunk.</summary>
        public Problems Heads { get; }

        public void Copy(Matrix from, Matrix to) => _backend.CopyStates(Heads, from, to, Dim, Columns);

        public void Add(Matrix from, Matrix to) => _backend.AddStates(Heads, from, to, Dim, Columns);

        /// <summary>
        /// A chunk's tokens, coefficients and writes, from the memories before its first token and, where it is another, S_c. What
        /// only this chunk needs is of a workspace of its own.
        /// </summary>
        public MemoryChunks Load(int c, Matrix s, Matrix start, Workspace scratch)
        {
            ChunkPlan plan = _settings.Plan(_inputs.Time);
            Problems problems = Heads with { Tokens = plan.Length(c) };
            Matrix frozen = start.Given ? start : s;
            var memory = new MemoryChunks(
                _backend, scratch, problems, start, Dim, Columns, 2 * Dim, Dim, momentum: false, erases: true, _settings.WritesFrozenError,
                _settings.Read, scale: 1)
            {
                Q = _q.FromRow(plan.Start(c)),
                K = _k,
                U = _u,
            };
            Matrix x = _x.FromRow(plan.Start(c));
            var rows = new ProductArguments { Problems = problems, M = Length, TokenRows = 1, K = Dim };
            _backend.Product(rows with { A = x, B = frozen, C = _projections, N = 2 * Dim });
            _backend.Product(rows with { A = x, B = frozen.FromColumn(3 * Dim), C = _gateInputs, N = 2 });
            _backend.LaunchItems(SelfModifyingKernels.Project, (long)problems.Count * Length, Arguments(memory));
            _backend.Product(rows with { A = _projections.FromColumn(Dim), B = frozen, C = _u, N = Columns });
            memory.Prepare();
            memory.Write(s, default);
            return memory;
        }

        /// <summary>
        /// dX, dQ of a chunk; dS from its end to before its first token, in place; and dStart += what reaches an S_c that is not S.
        /// </summary>
        public void Backward(int c, Matrix s, Matrix start, Matrix dS, Matrix dStart, Matrix dO, Matrix dX, Matrix dQ, Workspace scratch)
        {
            MemoryChunks memory = Load(c, s, start, scratch);
            Problems problems = memory.Problems;
            Matrix y = memory.Take(Length, Columns), frozen = start.Given ? start : s;
            memory.WriteGradients(0, dS, default, dO, y);
            SelfModifyingArguments arguments = Arguments(memory) with
            {
                DK = memory.Take(Length, Dim),
                DErase = memory.Take(Length),
                DTheta = memory.Take(Length),
                DLogAlpha = memory.Take(Length),
                DProjections = memory.Take(Length, 2 * Dim),
                DGateInputs = memory.Take(Length, 2),
                Written = memory.ThroughState(y, frozen, Columns),
            };
            memory.TokenGradients(s, default, dS, default, dO, y, new ChunkBackwardArguments
            {
                DQ = dQ,
                DK = arguments.DK,
                DErase = arguments.DErase,
                DTheta = arguments.DTheta,
                DLogAlpha = arguments.DLogAlpha,
            });
            _backend.LaunchItems(SelfModifyingKernels.ProjectBackward, (long)problems.Count * Length, arguments);

            // x took x S_c over [k | v] and [η | α].
            if (dX.Given)
            {
                var rows = new ProductArguments { Problems = problems, M = Length, TokenRows = 1, N = Dim, C = dX };
                _backend.Product(rows with { A = arguments.DProjections, B = frozen.Transposed(), K = 2 * Dim });
                _backend.Product(rows with
                {
                    A = arguments.DGateInputs,
                    B = frozen.FromColumn(3 * Dim).Transposed(),
                    K = 2,
                    Accumulate = 1,
                });
            }

            memory.RetreatStates(0, dS, default, dO, y, dS, default);
            Matrix dFrozen = start.Given ? dStart : dS;
            if (start.Given)
                memory.AddStartGradients(dO, y, dStart);
            var state = new ProductArguments { Problems = problems, M = Dim, K = problems.Tokens, Accumulate = 1 };
            Matrix x = _x.FromRow(_settings.Plan(_inputs.Time).Start(c)).Transposed();
            _backend.Product(state with
            {
                A = _projections.FromColumn(Dim).Transposed(),
                B = y,
                Depth = memory.Chunk.Theta,
                C = dFrozen,
                N = Columns,
            });
            _backend.Product(state with { A = x, B = arguments.DProjections, C = dFrozen, N = 2 * Dim });
            _backend.Product(state with { A = x, B = arguments.DGateInputs, C = dFrozen.FromColumn(3 * Dim), N = 2 });
        }

        private SelfModifyingArguments Arguments(MemoryChunks memory) => new()
        {
            Problems = memory.Problems,
            Projections = _projections,
            GateInputs = _gateInputs,
            K = _k,
            Erase = memory.Chunk.Erase,
            Theta = memory.Chunk.Theta,
            Alpha = memory.Chunk.Alpha,
            InverseNorms = _inverseNorms,
            Dim = Dim,
            Rule = new SelfModifyingRule(_settings),
        };
    }
}
