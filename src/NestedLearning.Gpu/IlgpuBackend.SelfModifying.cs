using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal sealed partial class IlgpuBackend
{
    // Keys, values and gates of a chunk are made by the memory at its start, so chunks follow each other throughout.
    public override void SelfModifyingForward(in SelfModifyingInputs inputs, SelfModifyingSettings settings, in SelfModifyingOutputs outputs)
    {
        using var workspace = new Workspace(this);
        var chunk = new SelfModifyingChunk(this, workspace, inputs, settings);
        Matrix s = State(outputs.S), states = State(outputs.ChunkStates), o = Tokens(outputs.O, chunk.Length);
        if (inputs.S0.Storage != outputs.S.Storage)
            CopyStates(chunk.Heads, State(inputs.S0), s, chunk.Dim, chunk.Columns);
        for (int c = 0; c < settings.Chunks(inputs.Time); c++)
        {
            if (states.Given)
                CopyStates(chunk.Heads, s, Only(states, c), chunk.Dim, chunk.Columns);
            MemoryChunks memory = chunk.Load(c, s);
            memory.Read(s, default, Only(o, c));
            memory.Advance(0, s, default, s, default);
        }
    }

    public override void SelfModifyingBackward(in SelfModifyingInputs inputs, SelfModifyingSettings settings, Tensor chunkStates, Tensor dOutput, Tensor? dState, in SelfModifyingGradients gradients)
    {
        using var workspace = new Workspace(this);
        var chunk = new SelfModifyingChunk(this, workspace, inputs, settings);
        Matrix states = State(chunkStates), dO = Tokens(dOutput, chunk.Length);
        Matrix dX = Tokens(gradients.X, chunk.Length), dQ = Tokens(gradients.Q, chunk.Length);
        Matrix dS = Take(workspace, chunk.Heads, chunk.Dim, chunk.Columns);
        CopyStates(chunk.Heads, State(dState), dS, chunk.Dim, chunk.Columns);
        for (int c = settings.Chunks(inputs.Time) - 1; c >= 0; c--)
            chunk.Backward(c, Only(states, c), dS, Only(dO, c), Only(dX, c), Only(dQ, c));
        if (gradients.S0 is not null)
            CopyStates(chunk.Heads, dS, State(gradients.S0), chunk.Dim, chunk.Columns);
    }

    /// <summary>One chunk of every head: the scan's chunk with ε = θ = η and U = v S_c, and what makes its tokens.</summary>
    private sealed class SelfModifyingChunk
    {
        private readonly IlgpuBackend _backend;
        private readonly Workspace _workspace;
        private readonly SelfModifyingInputs _inputs;
        private readonly SelfModifyingSettings _settings;
        private readonly Matrix _x, _q, _u, _projections, _gateInputs, _k, _inverseNorms;

        public SelfModifyingChunk(IlgpuBackend backend, Workspace workspace, in SelfModifyingInputs inputs, SelfModifyingSettings settings)
        {
            (_backend, _workspace, _inputs, _settings) = (backend, workspace, inputs, settings);
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

        /// <summary>A chunk's tokens, coefficients and writes, from the memories at its start.</summary>
        public MemoryChunks Load(int c, Matrix s)
        {
            Problems problems = Heads with { Tokens = Math.Min(Length, _inputs.Time - c * Length) };
            var memory = new MemoryChunks(
                _backend, _workspace, problems, Dim, Columns, 2 * Dim, Dim, momentum: false, erases: true,
                frozen: _settings.Objective == MemoryObjective.L2, readsAfter: _settings.Read == ScanRead.After, scale: 1)
            {
                Q = Only(_q, c),
                K = _k,
                U = _u,
            };
            Matrix x = Only(_x, c);
            var rows = new ProductArguments { Problems = problems, M = Length, TokenRows = 1, K = Dim };
            _backend.Product(rows with { A = x, B = s, C = _projections, N = 2 * Dim });
            _backend.Product(rows with { A = x, B = s.FromColumn(3 * Dim), C = _gateInputs, N = 2 });
            _backend.LaunchItems(SelfModifyingKernels.Project, (long)problems.Count * Length, Arguments(memory));
            _backend.Product(rows with { A = _projections.FromColumn(Dim), B = s, C = _u, N = Columns });
            memory.Prepare();
            memory.Write(s, default);
            return memory;
        }

        /// <summary>dX, dQ of a chunk; dS from its end to its start, in place.</summary>
        public void Backward(int c, Matrix s, Matrix dS, Matrix dO, Matrix dX, Matrix dQ)
        {
            MemoryChunks memory = Load(c, s);
            Problems problems = memory.Problems;
            int n = problems.Tokens;
            Matrix y = memory.Take(Length, Columns);
            memory.WriteGradients(0, dS, default, dO, y);
            SelfModifyingArguments arguments = Arguments(memory) with
            {
                DK = memory.Take(Length, Dim),
                DErase = memory.Take(Length),
                DTheta = memory.Take(Length),
                DLogAlpha = memory.Take(Length),
                DProjections = memory.Take(Length, 2 * Dim),
                DGateInputs = memory.Take(Length, 2),
            };
            arguments.Written = memory.TokenGradients(s, default, dS, default, dO, y, new ChunkBackwardArguments
            {
                DQ = dQ,
                DK = arguments.DK,
                DErase = arguments.DErase,
                DTheta = arguments.DTheta,
                DLogAlpha = arguments.DLogAlpha,
            });
            _backend.LaunchItems(SelfModifyingKernels.ProjectBackward, (long)problems.Count * Length, arguments);

            // x took x S over [k | v] and [η | α].
            if (dX.Given)
            {
                var rows = new ProductArguments { Problems = problems, M = Length, TokenRows = 1, N = Dim, C = dX };
                _backend.Product(rows with { A = arguments.DProjections, B = s.Transposed(), K = 2 * Dim });
                _backend.Product(rows with { A = arguments.DGateInputs, B = s.FromColumn(3 * Dim).Transposed(), K = 2, Accumulate = 1 });
            }

            memory.RetreatStates(0, dS, default, dO, y, dS, default);
            var state = new ProductArguments { Problems = problems, M = Dim, K = n, Accumulate = 1 };
            Matrix x = Only(_x, c).Transposed();
            _backend.Product(state with { A = _projections.FromColumn(Dim).Transposed(), B = y, Depth = memory.Chunk.Theta, C = dS, N = Columns });
            _backend.Product(state with { A = x, B = arguments.DProjections, C = dS, N = 2 * Dim });
            _backend.Product(state with { A = x, B = arguments.DGateInputs, C = dS.FromColumn(3 * Dim), N = 2 });
        }

        private SelfModifyingArguments Arguments(MemoryChunks memory) => new()
        {
            Problems = memory.Problems,
            Projections = _projections,
            GateInputs = _gateInputs,
            K = _k,
            Eta = memory.Chunk.Erase,
            Theta = memory.Chunk.Theta,
            Alpha = memory.Chunk.Alpha,
            InverseNorms = _inverseNorms,
            Dim = Dim,
            NormalizesValues = _settings.NormalizeValues ? 1 : 0,
            EtaScale = _settings.EtaScale,
            EtaBias = _settings.EtaBias,
            AlphaBias = _settings.AlphaBias,
        };
    }
}
