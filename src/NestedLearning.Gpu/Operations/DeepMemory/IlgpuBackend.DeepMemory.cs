using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    // What is written depends on the weights at the chunk's start, so writes follow each other; reads are of all chunks at once.
    public override void DeepMemoryForward(in DeepMemoryInputs inputs, DeepMemorySettings settings, in DeepMemoryOutputs outputs)
    {
        using var workspace = new Workspace(this);
        ChunkPlan plan = settings.Plan(inputs.Time);
        Problems heads = Heads(inputs), states = heads with { Chunks = plan.Count };
        LayerWeights start = new(inputs.ChunkStart1, inputs.ChunkStart2), last = new(outputs.W1, outputs.W2, outputs.P1, outputs.P2);
        LayerWeights state = outputs.Saved == default
            ? new LayerWeights(workspace, states, inputs.Dim, inputs.Hidden, momentum: inputs.Mu is not null)
            : new LayerWeights(outputs.Saved.W1, outputs.Saved.W2, outputs.Saved.P1, outputs.Saved.P2);
        CopyWeights(inputs, new LayerWeights(inputs.W1, inputs.W2, inputs.P1, inputs.P2), plan.Count > 0 ? state : last);
        foreach (ChunkRange range in Ranges(plan, heads))
        {
            var chunks = new DeepMemoryChunks(this, workspace, inputs, settings, range);
            for (int c = 0; c < range.Problems.Chunks; c++)
            {
                int here = range.FirstChunk + c;
                using var scratch = new Workspace(this);
                chunks.At(c, scratch).Advance(state.At(here), here == plan.Count - 1 ? last : state.At(here + 1));
            }

            chunks.Read(state.At(range.FirstChunk), range.Tokens(outputs.O));
        }

        LayerWeights next = plan.NextPhase == 0 ? last : plan.Count == 0
            || plan.BeganBefore(plan.Count - 1) ? start : state.At(plan.Count - 1);
        CopyWeights(inputs, next, new LayerWeights(outputs.ChunkStart1, outputs.ChunkStart2));
    }

    public override void DeepMemoryBackward(
        in DeepMemoryInputs inputs, DeepMemorySettings settings, in DeepMemorySaved saved, in DeepMemoryOutputGradients upstream,
        in DeepMemoryGradients gradients)
    {
        using var workspace = new Workspace(this);
        ChunkPlan plan = settings.Plan(inputs.Time);
        Problems heads = Heads(inputs);
        LayerWeights state = new(saved.W1, saved.W2, saved.P1, saved.P2), dNext = new(upstream.ChunkStart1, upstream.ChunkStart2);
        LayerWeights dInitial = new(gradients.W1, gradients.W2, gradients.P1, gradients.P2),
            dStart = new(gradients.ChunkStart1, gradients.ChunkStart2);

        // Gradients at a chunk's end and at its start, which change places from chunk to chunk.
        var dState = new LayerWeights(workspace, heads with { Chunks = 2 }, inputs.Dim, inputs.Hidden, momentum: inputs.Mu is not null);
        LayerWeights dLast = dState.At(Math.Max(plan.Count - 1, 0) % 2);
        CopyWeights(inputs, new LayerWeights(upstream.W1, upstream.W2, upstream.P1, upstream.P2), dLast);
        if (plan.NextPhase == 0)
            AddWeights(inputs, dNext, dLast);
        CopyWeights(inputs, plan.NextPhase != 0 && plan.Count <= 1 ? dNext : default, dStart);
        if (plan.Count == 0)
            CopyWeights(inputs, dLast, dInitial);
        foreach (ChunkRange range in Ranges(plan, heads).Reverse())
        {
            var chunks = new DeepMemoryChunks(this, workspace, inputs, settings, range);
            chunks.Prepare(state.At(range.FirstChunk));
            for (int c = range.Problems.Chunks - 1; c >= 0; c--)
            {
                int here = range.FirstChunk + c;
                using var scratch = new Workspace(this);
                LayerWeights previous = here > 0 ? dState.At((here - 1) % 2) : dInitial;
                bool beganBefore = plan.BeganBefore(here);
                chunks.At(c, scratch).Backward(
                    state.At(here), dState.At(here % 2), previous, beganBefore ? dStart : previous, Only(range.Tokens(upstream.O), c),
                    new DeepMemoryTokenGradients
                    {
                        Q = Only(range.Tokens(gradients.Q), c),
                        K = Only(range.Tokens(gradients.K), c),
                        V = Only(range.Tokens(gradients.V), c),
                        LogAlpha = Only(range.Tokens(gradients.LogAlpha), c),
                        Theta = Only(range.Tokens(gradients.Theta), c),
                        Erase = Only(range.Tokens(gradients.Erase), c),
                        Mu = Only(range.Tokens(gradients.Mu), c),
                    });
                if (here == plan.Count - 1 && plan.NextPhase != 0 && !beganBefore)
                    AddWeights(inputs, dNext, previous);
            }
        }
    }

    private static Problems Heads(in DeepMemoryInputs inputs) =>
        new() { Batches = inputs.Batch, Heads = inputs.Heads, Chunks = 1, Length = inputs.Time, Tokens = inputs.Time };

    // What the target lacks is not wanted, and what the source lacks is zero.
    private void CopyWeights(in DeepMemoryInputs inputs, LayerWeights from, LayerWeights to)
    {
        Problems heads = Heads(inputs);
        int dim = inputs.Dim, hidden = inputs.Hidden;
        Copy(from.W1, to.W1, hidden, dim);
        Copy(from.W2, to.W2, dim, hidden);
        Copy(from.P1, to.P1, hidden, dim);
        Copy(from.P2, to.P2, dim, hidden);

        void Copy(Matrix source, Matrix target, int rows, int columns)
        {
            if (target.Given)
                CopyStates(heads, source, target, rows, columns);
        }
    }

    private void AddWeights(in DeepMemoryInputs inputs, LayerWeights from, LayerWeights to)
    {
        if (from.W1.Given && to.W1.Given)
            AddStates(Heads(inputs), from.W1, to.W1, inputs.Hidden, inputs.Dim);
        if (from.W2.Given && to.W2.Given)
            AddStates(Heads(inputs), from.W2, to.W2, inputs.Dim, inputs.Hidden);
    }

    /// <summary>Both layers' weights and momenta, or gradients of them; of each chunk or of one.</summary>
    private readonly struct LayerWeights(Matrix w1, Matrix w2, Matrix p1, Matrix p2)
    {
        public readonly Matrix W1 = w1, W2 = w2, P1 = p1, P2 = p2;

        public LayerWeights(Tensor? w1, Tensor? w2, Tensor? p1 = null, Tensor? p2 = null)
            : this(State(w1), State(w2), State(p1), State(p2))
        {
        }

        public LayerWeights(Workspace workspace, Problems problems, int dim, int hidden, bool momentum)
            : this(
                Take(workspace, problems, hidden, dim),
                Take(workspace, problems, dim, hidden),
                momentum ? Take(workspace, problems, hidden, dim) : default,
                momentum ? Take(workspace, problems, dim, hidden) : default)
        {
        }

        public LayerWeights At(int chunk) => new(Only(W1, chunk), Only(W2, chunk), Only(P1, chunk), Only(P2, chunk));
    }

    /// <summary>Where a chunk's gradients of tokens go; what is not given is not wanted.</summary>
    private readonly struct DeepMemoryTokenGradients
    {
        public Matrix Q { get; init; }

        public Matrix K { get; init; }

        public Matrix V { get; init; }

        public Matrix LogAlpha { get; init; }

        public Matrix Theta { get; init; }

        public Matrix Erase { get; init; }

        public Matrix Mu { get; init; }
    }

    /// <summary>
    /// A deep memory over the chunks of a launch: both layers, each an associative memory, and what makes their keys and writes.
    /// See native/kernels/deep_memory/README.md for the equations and for the names.
    /// </summary>
    private sealed class DeepMemoryChunks
    {
        private readonly IlgpuBackend _backend;
        private readonly Workspace _workspace;
        private readonly DeepMemorySettings _settings;
        private readonly int _dim, _hidden;

        /// <summary>W_c where it is not the state before the chunk's first token; else it is not given.</summary>
        private readonly LayerWeights _start;
        private readonly MemoryChunks _layer1, _layer2;
        private readonly Matrix _q, _k, _v, _theta;
        private DeepMemoryArguments _tokens;

        public DeepMemoryChunks(IlgpuBackend backend, Workspace workspace, in DeepMemoryInputs inputs, DeepMemorySettings settings,
            ChunkRange range)
        {
            (_backend, _workspace, _settings, _dim, _hidden) = (backend, workspace, settings, inputs.Dim, inputs.Hidden);
            Problems = range.Problems;
            _start = range.FirstChunk == 0 ? new LayerWeights(inputs.ChunkStart1, inputs.ChunkStart2) : default;
            _q = range.Tokens(inputs.Q);
            _k = range.Tokens(inputs.K);
            _v = range.Tokens(inputs.V);
            _theta = range.Tokens(inputs.Theta);
            bool momentum = inputs.Mu is not null, erases = inputs.Erase is not null;
            int n = Problems.Length;
            _layer1 = new MemoryChunks(
                backend, workspace, Problems, _start.W1, _hidden, _dim, 0, _dim, momentum, erases, writesFrozenError: false, settings.Read,
                scale: 1)
            {
                K = Take(n, _hidden),
                Q = Take(n, _hidden),
            };
            _layer2 = new MemoryChunks(
                backend, workspace, Problems, _start.W2, _dim, _hidden, 0, _hidden, momentum, erases, writesFrozenError: false,
                settings.Read, scale: 1)
            {
                K = Take(n, _dim),
                Q = _q,
            };
            foreach (MemoryChunks layer in (ReadOnlySpan<MemoryChunks>)[_layer1, _layer2])
            {
                // u holds θ already.
                backend.LaunchItems(ChunkKernels.Gates, (long)Problems.Count * n, new ScanGateArguments
                {
                    Problems = Problems,
                    LogAlpha = range.Tokens(inputs.LogAlpha),
                    Erase = range.Tokens(inputs.Erase),
                    Mu = range.Tokens(inputs.Mu),
                    AlphaOut = layer.Chunk.Alpha,
                    EraseOut = layer.Chunk.Erase,
                    MuOut = layer.Chunk.Mu,
                    ThetaOut = layer.Chunk.Theta,
                });
                layer.PrepareCoefficients();
            }
        }

        private DeepMemoryChunks(DeepMemoryChunks all, int chunk, Workspace workspace)
        {
            (_backend, _workspace, _settings, _dim, _hidden) = (all._backend, workspace, all._settings, all._dim, all._hidden);
            Problems = Only(all.Problems, chunk);
            _start = all._start;
            _layer1 = all._layer1.At(chunk, workspace);
            _layer2 = all._layer2.At(chunk, workspace);
            _q = Only(all._q, chunk);
            _k = Only(all._k, chunk);
            _v = Only(all._v, chunk);
            _theta = Only(all._theta, chunk);
            _tokens = all._tokens with
            {
                Problems = Problems,
                K = _k,
                Theta = _theta,
                Z = Only(all._tokens.Z, chunk),
                H = Only(all._tokens.H, chunk),
                Back = Only(all._tokens.Back, chunk),
                Error = Only(all._tokens.Error, chunk),
                Keys1 = _layer1.K,
                Keys2 = _layer2.K,
                Norms = Only(all._tokens.Norms, chunk),
                ReadInput = Only(all._tokens.ReadInput, chunk),
            };
        }

        private Problems Problems { get; }

        private bool IsL2 => _settings.Objective == MemoryObjective.L2;

        private ProductArguments TokenRows => new() { Problems = Problems, M = Problems.Length, TokenRows = 1 };

        /// <summary>One chunk of these by itself; what it needs besides is of a workspace of its own.</summary>
        public DeepMemoryChunks At(int chunk, Workspace workspace) => new(this, chunk, workspace);

        /// <summary>From the weights before a chunk to those behind it. What it writes stays for <see cref="Read"/>.</summary>
        public void Advance(LayerWeights state, LayerWeights next)
        {
            Write(state);
            _layer1.Advance(0, state.W1, state.P1, next.W1, next.P1);
            _layer2.Advance(0, state.W2, state.P2, next.W2, next.P2);
        }

        /// <summary>o = q + φ(q W2) W1 of all chunks, once they are written.</summary>
        public void Read(LayerWeights state, Matrix o)
        {
            PrepareReads(state);
            _layer1.Read(state.W1, state.P1, o);
            if (_settings.Residual)
                _backend.Product(TokenRows with { C = o, Residual = _q, N = _dim, Accumulate = 1 });
        }

        /// <summary>All that the backward pass needs of the forward one, from the saved states.</summary>
        public void Prepare(LayerWeights state)
        {
            Write(state);
            PrepareReads(state);
        }

        /// <summary>
        /// Of one chunk: from the gradients at its end and of its reads to those of its tokens, and dPrevious = those before its
        /// first token. What W_c gets is added to dFrozen, which is dPrevious or, where W_c is given, its own.
        /// </summary>
        public void Backward(LayerWeights state, LayerWeights dState, LayerWeights dPrevious, LayerWeights dFrozen, Matrix dO,
            DeepMemoryTokenGradients results)
        {
            int n = Problems.Length;
            LayerWeights frozen = Frozen(state);
            Matrix y1 = Take(n, _dim), y2 = Take(n, _hidden), dReads = dO.Given ? Take(n, _hidden) : default;
            DeepMemoryArguments tokens = _tokens with
            {
                Activated = dReads,
                Y1 = y1,
                Y2 = y2,
                DKeys1 = Take(n, _hidden),
                DKeys2 = Take(n, _dim),
                DError = Take(n, _dim),
                DBack = Take(n, _hidden),
                DZ = Take(n, _hidden),
                DK = results.K,
                DTheta = results.Theta,
                Share1LogAlpha = results.LogAlpha.Given ? Take(n) : default,
                Share1Erase = results.Erase.Given ? Take(n) : default,
                Share1Mu = results.Mu.Given ? Take(n) : default,
                DLogAlpha = results.LogAlpha,
                DErase = results.Erase,
                DMu = results.Mu,
            };

            // The reads, from the output back: what layer 1's queries get is what comes out of layer 2's reads.
            _layer1.WriteGradients(0, dState.W1, dState.P1, dO, y1);
            _layer1.TokenGradients(state.W1, state.P1, dState.W1, dState.P1, dO, y1, new ChunkBackwardArguments
            {
                DQ = dReads,
                DK = tokens.DKeys1,
                DLogAlpha = tokens.Share1LogAlpha,
                DErase = tokens.Share1Erase,
                DMu = tokens.Share1Mu,
            });
            if (dO.Given)
                _backend.LaunchItems(DeepMemoryKernels.ActivateBackward, (long)Problems.Count * n * _hidden, tokens);
            _layer2.WriteGradients(0, dState.W2, dState.P2, dReads, y2);
            _layer2.TokenGradients(state.W2, state.P2, dState.W2, dState.P2, dReads, y2, new ChunkBackwardArguments
            {
                DQ = results.Q,
                DK = tokens.DKeys2,
                DLogAlpha = results.LogAlpha,
                DErase = results.Erase,
                DMu = results.Mu,
            });
            if (results.Q.Given && dO.Given && _settings.Residual)
                _backend.Product(TokenRows with { C = results.Q, Residual = dO, N = _dim, Accumulate = 1 });

            WriteGradients(tokens, frozen, results);

            // To the weights before the chunk's first token, and to W_c.
            _layer1.RetreatStates(0, dState.W1, dState.P1, dO, y1, dPrevious.W1, dPrevious.P1);
            _layer2.RetreatStates(0, dState.W2, dState.P2, dReads, y2, dPrevious.W2, dPrevious.P2);
            var weights = new ProductArguments { Problems = Problems, K = Math.Min(n, Problems.Tokens), Accumulate = 1 };
            if (dFrozen.W1.Given)
            {
                if (_start.W1.Given)
                    _layer1.AddStartGradients(dO, y1, dFrozen.W1);
                _backend.Product(weights with { A = tokens.DBack.Transposed(), B = tokens.Error, M = _hidden, C = dFrozen.W1, N = _dim });
                if (IsL2)
                    _backend.Product(weights with { A = tokens.H.Transposed(), B = tokens.DError, M = _hidden, C = dFrozen.W1, N = _dim });
            }

            if (dFrozen.W2.Given)
            {
                if (_start.W2.Given)
                    _layer2.AddStartGradients(dReads, y2, dFrozen.W2);
                _backend.Product(weights with { A = _k.Transposed(), B = tokens.DZ, M = _dim, C = dFrozen.W2, N = _hidden });
            }
        }

        // From keys and u to k, v, θ.
        private void WriteGradients(DeepMemoryArguments tokens, LayerWeights frozen, DeepMemoryTokenGradients results)
        {
            int n = Problems.Length;
            _backend.Launch(DeepMemoryKernels.WritesBackward, (long)Problems.Count * n, tokens);
            _backend.Product(TokenRows with { A = tokens.DBack, B = frozen.W1, K = _hidden, C = tokens.DError, N = _dim, Accumulate = 1 });
            if (results.V.Given)
                _backend.Product(TokenRows with { C = results.V, Residual = tokens.DError, ResidualScale = -1, N = _dim });
            if (IsL2)
            {
                _backend.Product(TokenRows with
                {
                    A = tokens.DError,
                    B = frozen.W1.Transposed(),
                    K = _dim,
                    C = tokens.DZ,
                    N = _hidden,
                    Accumulate = 1,
                    Epilogue = (int)Epilogue.GeluGradient,
                    PreActivation = tokens.Z,
                });
            }

            if (results.K.Given)
            {
                if (IsL2 && _settings.Residual)
                    _backend.Product(TokenRows with { C = results.K, Residual = tokens.DError, N = _dim, Accumulate = 1 });
                _backend.Product(TokenRows with
                {
                    A = tokens.DZ,
                    B = frozen.W2.Transposed(),
                    K = _hidden,
                    C = results.K,
                    N = _dim,
                    Accumulate = 1,
                });
            }
        }

        private Matrix Take(int rows, int columns = 1) => IlgpuBackend.Take(_workspace, Problems, rows, columns);

        private LayerWeights Frozen(LayerWeights state) => _start.W1.Given ? _start : state;

        // The gradient at the frozen weights, as unit keys and u, and what is really written.
        private void Write(LayerWeights state)
        {
            int n = Problems.Length;
            LayerWeights frozen = Frozen(state);
            _layer1.U = Take(n, _dim);
            _layer2.U = Take(n, _hidden);
            _tokens = new DeepMemoryArguments
            {
                Problems = Problems,
                K = _k,
                Theta = _theta,
                Z = Take(n, _hidden),
                H = Take(n, _hidden),
                Back = Take(n, _hidden),
                Error = Take(n, _dim),
                Keys1 = _layer1.K,
                Keys2 = _layer2.K,
                Norms = Take(n, 2),
                Writes1 = _layer1.U,
                Writes2 = _layer2.U,
                Dim = _dim,
                Hidden = _hidden,
            };
            _backend.Product(TokenRows with
            {
                A = _k,
                B = frozen.W2,
                K = _dim,
                C = _tokens.H,
                N = _hidden,
                Epilogue = (int)Epilogue.Gelu,
                PreActivation = _tokens.Z,
            });
            _backend.Product(TokenRows with
            {
                A = _tokens.H,
                B = frozen.W1,
                K = IsL2 ? _hidden : 0,
                C = _tokens.Error,
                N = _dim,
                Residual = _v,
                ResidualScale = -1,
            });
            if (IsL2 && _settings.Residual)
                _backend.Product(TokenRows with { C = _tokens.Error, Residual = _k, N = _dim, Accumulate = 1 });
            _backend.Product(TokenRows with { A = _tokens.Error, B = frozen.W1.Transposed(), K = _dim, C = _tokens.Back, N = _hidden });
            _backend.Launch(DeepMemoryKernels.Writes, (long)Problems.Count * n, _tokens);
            _layer1.PrepareWrites();
            _layer2.PrepareWrites();
            _layer1.Write(state.W1, state.P1);
            _layer2.Write(state.W2, state.P2);
        }

        // Layer 2's reads, the activation of which are layer 1's queries.
        private void PrepareReads(LayerWeights state)
        {
            _tokens = _tokens with
            {
                Problems = Problems,
                ReadInput = Take(Problems.Length, _hidden),
                Activated = _layer1.Q,
                Dim = _dim,
                Hidden = _hidden,
            };
            _layer2.PrepareReads();
            _layer2.Read(state.W2, state.P2, _tokens.ReadInput);
            _backend.LaunchItems(DeepMemoryKernels.Activate, (long)Problems.Count * Problems.Length * _hidden, _tokens);
            _layer1.PrepareReads();
        }
    }
}
