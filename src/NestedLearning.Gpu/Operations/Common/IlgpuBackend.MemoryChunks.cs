using NestedLearning.Gpu.Kernels;

namespace NestedLearning.Gpu;

internal partial class IlgpuBackend
{
    /// <summary>
    /// An associative memory over the chunks of a launch, with its equations in chunk-parallel form: see
    /// native/kernels/scan/README.md for them and for the names. Reads see ReadDim columns of S from ReadStart on.
    /// </summary>
    private sealed class MemoryChunks
    {
        private readonly IlgpuBackend _backend;
        private readonly Workspace _workspace;
        private readonly int _keyDim, _valueDim, _readStart, _readDim;
        private readonly bool _writesFrozenError;

        // start is S_c where it is not the state before the chunk's first token; else it is not given.
        public MemoryChunks(
            IlgpuBackend backend, Workspace workspace, Problems problems, Matrix start, int keyDim, int valueDim, int readStart,
            int readDim,
            bool momentum, bool erases, bool writesFrozenError, ScanRead read, float scale)
        {
            (_backend, _workspace, _keyDim, _valueDim, _readStart, _readDim) = (backend, workspace, keyDim, valueDim, readStart, readDim);
            _writesFrozenError = writesFrozenError;
            Start = start;
            int n = problems.Length;
            Problems = problems;
            Chunk = new ChunkArguments
            {
                Problems = problems,
                Alpha = Take(n),
                Erase = Take(n),
                Mu = Take(n),
                Theta = Take(n),
                A = Take(n + 1),
                B = momentum ? Take(n + 1) : default,
                C = momentum ? Take(n + 1) : default,
                G = Take(n + 1, n),
                X = momentum ? Take(n + 1, n) : default,
                WriteS = Take(n),
                WriteP = momentum ? Take(n) : default,
                ReadS = Take(n),
                ReadP = momentum ? Take(n) : default,
                KeyProducts = erases ? Take(n, n) : default,
                QueryProducts = Take(n, n),
                N = erases ? Take(n, n) : default,
                M = Take(n, n),
                Momentum = momentum ? 1 : 0,
                Erases = erases ? 1 : 0,
                Frozen = writesFrozenError && !start.Given ? 1 : 0,
                ReadsAfter = read == ScanRead.After ? 1 : 0,
                ReadsAtStart = read == ScanRead.ChunkStart ? 1 : 0,
                Scale = scale,
            };
            W = Take(n, valueDim);
        }

        private MemoryChunks(MemoryChunks all, int chunk, Workspace workspace)
        {
            (_backend, _workspace, _keyDim, _valueDim, _readStart, _readDim) = (all._backend, workspace, all._keyDim, all._valueDim,
                all._readStart, all._readDim);
            _writesFrozenError = all._writesFrozenError;
            Start = all.Start;
            Problems = Only(all.Problems, chunk);
            Chunk = Of(all.Chunk, Problems, chunk);
            Q = Only(all.Q, chunk);
            K = Only(all.K, chunk);
            U = Only(all.U, chunk);
            W = Only(all.W, chunk);
        }

        /// <summary>Gates are to be filled in; the rest follows from them.</summary>
        public ChunkArguments Chunk { get; }

        public Problems Problems { get; }

        /// <summary>Tokens' rows.</summary>
        public Matrix Q { get; set; }

        public Matrix K { get; set; }

        public Matrix U { get; set; }

        public Matrix W { get; }

        private Matrix Start { get; }

        private bool ReadsAtStart => Chunk.ReadsAtStart != 0;

        private bool HasMomentum => Chunk.Momentum != 0;

        private bool Erases => Chunk.Erases != 0;

        /// <summary>Whether writes depend on the state.</summary>
        public bool WritesReadState => Erases || Chunk.Frozen != 0;

        /// <summary>Whether they hold −θ k S_c with S_c ≠ S.</summary>
        private bool WritesReadStart => _writesFrozenError && Start.Given;

        public Matrix Take(int rows, int columns = 1) => IlgpuBackend.Take(_workspace, Problems, rows, columns);

        /// <summary>One chunk of these by itself, in the same memory; what it needs besides is of a workspace of its own.</summary>
        public MemoryChunks At(int chunk, Workspace workspace) => new(this, chunk, workspace);

        /// <summary>Coefficients and triangles, from the gates.</summary>
        public void Prepare()
        {
            PrepareCoefficients();
            if (Erases)
                Pairs(K, K, Chunk.KeyProducts, _keyDim);
            Pairs(Q, K, Chunk.QueryProducts, _keyDim);
            Triangles(Chunk);
        }

        /// <summary>Coefficients, from the gates, where keys and queries are not there yet.</summary>
        public void PrepareCoefficients() =>
            _backend.LaunchItems(ChunkKernels.Coefficients, (long)Problems.Count * (Problems.Length + 1), Chunk);

        /// <summary>The triangle of writes, once there are coefficients and keys.</summary>
        public void PrepareWrites()
        {
            if (!Erases)
                return;
            Pairs(K, K, Chunk.KeyProducts, _keyDim);
            Triangles(Chunk with { M = default, ReadsAtStart = 1 });
        }

        /// <summary>The triangle of reads, once there are coefficients, keys and queries.</summary>
        public void PrepareReads()
        {
            if (ReadsAtStart)
                return;
            Pairs(Q, K, Chunk.QueryProducts, _keyDim);
            Triangles(Chunk with { N = default, Erases = 0 });
        }

        /// <summary>W = diag(θ) U + K_s S + K_p P + N W of all chunks, or of one.</summary>
        public void Write(Matrix s, Matrix p, int? only = null)
        {
            Problems problems = Of(only);
            Matrix w = Of(W, only), k = Of(K, only);
            _backend.Product(TokenRows(problems) with
            {
                A = k,
                B = s,
                K = WritesReadState ? _keyDim : 0,
                Rows = WritesReadState ? Of(Chunk.WriteS, only) : default,
                Residual = Of(U, only),
                ResidualFactor = Of(Chunk.Theta, only),
                C = w,
                N = _valueDim,
            });
            if (WritesReadStart)
                _backend.Product(TokenRows(problems) with
                {
                    A = k,
                    B = Start,
                    K = _keyDim,
                    Rows = Of(Chunk.Theta, only),
                    Scale = -1,
                    C = w,
                    N = _valueDim,
                    Accumulate = 1,
                });
            if (!Erases)
                return;
            if (HasMomentum)
                _backend.Product(TokenRows(problems) with
                {
                    A = k,
                    B = p,
                    K = _keyDim,
                    Rows = Of(Chunk.WriteP, only),
                    C = w,
                    N = _valueDim,
                    Accumulate = 1,
                });
            _backend.LaunchItems(
                ChunkKernels.SolveLower, (long)problems.Count * _valueDim,
                new TriangleArguments { Problems = problems, Triangle = Of(Chunk.N, only), Out = w, Columns = _valueDim });
        }

        /// <summary>O = Q_s S + Q_p P + M W, or scale · Q S_c, of all chunks.</summary>
        public void Read(Matrix s, Matrix p, Matrix o)
        {
            _backend.Product(TokenRows(Problems) with
            {
                A = Q,
                B = ReadState(s).FromColumn(_readStart),
                K = _keyDim,
                Rows = Chunk.ReadS,
                C = o,
                N = _readDim,
            });
            if (ReadsAtStart)
                return;
            if (HasMomentum)
                _backend.Product(TokenRows(Problems) with
                {
                    A = Q,
                    B = p.FromColumn(_readStart),
                    K = _keyDim,
                    Rows = Chunk.ReadP,
                    C = o,
                    N = _readDim,
                    Accumulate = 1,
                });
            AddTriangle(ChunkKernels.AddLower, Problems, Chunk.M, W.FromColumn(_readStart), o);
        }

        /// <summary>S' = a_n S + b_n P + K_gᵀ W and P' = c_n P + K_xᵀ W of one chunk. S' may be S.</summary>
        public void Advance(int chunk, Matrix s, Matrix p, Matrix nextS, Matrix nextP)
        {
            Problems problems = Only(Problems, chunk);
            int n = Math.Min(problems.Length, problems.Tokens);
            ProductArguments update = new()
            {
                Problems = problems, A = Only(K, chunk).Transposed(), B = Only(W, chunk), K = n, M = _keyDim, N = _valueDim, C = nextS,
                Depth = AtRow(Chunk.G, chunk, n), Residual = s, ResidualFactor = Scalar(Chunk.A, chunk, n),
            };
            _backend.Product(update);
            if (!HasMomentum)
                return;
            _backend.Product(update with { K = 0, Residual = p, ResidualFactor = Scalar(Chunk.B, chunk, n), Accumulate = 1 });
            _backend.Product(update with
            {
                C = nextP,
                Depth = AtRow(Chunk.X, chunk, n),
                Residual = p,
                ResidualFactor = Scalar(Chunk.C, chunk, n),
            });
        }

        /// <summary>Y = (I − N)⁻ᵀ (K_g dS + K_x dP + Mᵀ dO) of one chunk.</summary>
        public void WriteGradients(int chunk, Matrix dS, Matrix dP, Matrix dO, Matrix y)
        {
            Problems problems = Only(Problems, chunk);
            int n = Math.Min(problems.Length, problems.Tokens);
            y = Only(y, chunk);
            _backend.Product(TokenRows(problems) with
            {
                A = Only(K, chunk),
                B = dS,
                K = _keyDim,
                Rows = AtRow(Chunk.G, chunk, n),
                C = y,
                N = _valueDim,
            });
            if (HasMomentum)
                _backend.Product(TokenRows(problems) with
                {
                    A = Only(K, chunk),
                    B = dP,
                    K = _keyDim,
                    Rows = AtRow(Chunk.X, chunk, n),
                    C = y,
                    N = _valueDim,
                    Accumulate = 1,
                });
            if (dO.Given && !ReadsAtStart)
                AddTriangle(ChunkKernels.AddUpper, problems, Only(Chunk.M, chunk), Only(dO, chunk), y.FromColumn(_readStart));
            if (Erases)
                _backend.LaunchItems(
                    ChunkKernels.SolveUpper, (long)problems.Count * _valueDim,
                    new TriangleArguments { Problems = problems, Triangle = Only(Chunk.N, chunk), Out = y, Columns = _valueDim });
        }

        /// <summary>
        /// dS' = a_n dS + Q_sᵀ dO + K_sᵀ Y and dP' = b_n dS + c_n dP + Q_pᵀ dO + K_pᵀ Y of one chunk. Without momentum dS' may be dS.
        /// </summary>
        public void RetreatStates(int chunk, Matrix dS, Matrix dP, Matrix dO, Matrix y, Matrix previousS, Matrix previousP)
        {
            Problems problems = Only(Problems, chunk);
            int n = Math.Min(problems.Length, problems.Tokens);
            Matrix k = Only(K, chunk).Transposed(), q = Only(Q, chunk).Transposed();
            var state = new ProductArguments { Problems = problems, M = _keyDim, N = _valueDim };
            if (previousS.Given)
            {
                _backend.Product(state with { C = previousS, Residual = dS, ResidualFactor = Scalar(Chunk.A, chunk, n) });
                if (dO.Given && !(ReadsAtStart && Start.Given))
                    _backend.Product(state with
                    {
                        A = q,
                        B = Only(dO, chunk),
                        K = n,
                        Depth = Only(Chunk.ReadS, chunk),
                        C = previousS.FromColumn(_readStart),
                        N = _readDim,
                        Accumulate = 1,
                    });
                if (WritesReadState)
                    _backend.Product(state with
                    {
                        A = k,
                        B = Only(y, chunk),
                        K = n,
                        Depth = Only(Chunk.WriteS, chunk),
                        C = previousS,
                        Accumulate = 1,
                    });
            }

            if (!previousP.Given)
                return;
            _backend.Product(state with { C = previousP, Residual = dP, ResidualFactor = Scalar(Chunk.C, chunk, n) });
            _backend.Product(state with { C = previousP, Residual = dS, ResidualFactor = Scalar(Chunk.B, chunk, n), Accumulate = 1 });
            if (dO.Given && !ReadsAtStart)
                _backend.Product(state with
                {
                    A = q,
                    B = Only(dO, chunk),
                    K = n,
                    Depth = Only(Chunk.ReadP, chunk),
                    C = previousP.FromColumn(_readStart),
                    N = _readDim,
                    Accumulate = 1,
                });
            if (Erases)
                _backend.Product(state with
                {
                    A = k,
                    B = Only(y, chunk),
                    K = n,
                    Depth = Only(Chunk.WriteP, chunk),
                    C = previousP,
                    Accumulate = 1,
                });
        }

        /// <summary>dStart += what writes and reads took from an S_c that is not S; of one chunk.</summary>
        public void AddStartGradients(Matrix dO, Matrix y, Matrix dStart)
        {
            int n = Math.Min(Problems.Length, Problems.Tokens);
            var state = new ProductArguments { Problems = Problems, M = _keyDim, K = n, Accumulate = 1 };
            if (WritesReadStart)
                _backend.Product(state with { A = K.Transposed(), B = y, Depth = Chunk.Theta, Scale = -1, C = dStart, N = _valueDim });
            if (dO.Given && ReadsAtStart)
                _backend.Product(state with
                {
                    A = Q.Transposed(),
                    B = dO,
                    Depth = Chunk.ReadS,
                    C = dStart.FromColumn(_readStart),
                    N = _readDim,
                });
        }

        /// <summary>
        /// The tokens' gradients of all chunks, into those of results that are given: DQ, DK, DU and the gates'.
        /// </summary>
        /// <param name="s">States at the chunks' starts.</param>
        /// <param name="p">Momenta there.</param>
        /// <param name="dS">dL/dS at the chunks' ends.</param>
        /// <param name="dP">dL/dP there.</param>
        /// <param name="dO">dL/do.</param>
        /// <param name="y">What <see cref="WriteGradients"/> made.</param>
        /// <param name="results">Where results go; the rest is not read.</param>
        public void TokenGradients(Matrix s, Matrix p, Matrix dS, Matrix dP, Matrix dO, Matrix y, ChunkBackwardArguments results)
        {
            int n = Problems.Length;
            Matrix readW = W.FromColumn(_readStart);
            ChunkBackwardArguments a = results with
            {
                Chunk = Chunk,
                Q = Q,
                K = K,
                U = U,
                DO = dO,
                Y = y,
                KeyDim = _keyDim,
                ValueDim = _valueDim,
                LeftS = ThroughState(W, dS, _valueDim),
                LeftP = HasMomentum ? ThroughState(W, dP, _valueDim) : default,
                WrittenS = WritesReadState ? ThroughState(y, s, _valueDim) : default,
                WrittenP = HasMomentum && Erases ? ThroughState(y, p, _valueDim) : default,
                ReadRowsS = dO.Given ? ThroughState(dO, ReadState(s).FromColumn(_readStart), _readDim) : default,
                WrittenStart = WritesReadStart ? ThroughState(y, Start, _valueDim) : default,
                ReadRowsP = dO.Given && HasMomentum && !ReadsAtStart ? ThroughState(dO, p.FromColumn(_readStart), _readDim) : default,
                WriteProducts = Erases ? Take(n, n) : default,
                ReadProducts = dO.Given && !ReadsAtStart ? Take(n, n) : default,
                StateDots = Take(3),
                Dots = Take(n, 6),
                DA = Take(n + 1),
                DB = Take(n + 1),
                DC = Take(n + 1),
                DG = Take(n + 1, n),
                DX = HasMomentum ? Take(n + 1, n) : default,
            };
            if (Erases)
                Pairs(y, W, a.WriteProducts, _valueDim);
            if (a.ReadProducts.Given)
                Pairs(dO, readW, a.ReadProducts, _readDim);
            StateDot(dS, s, a.StateDots);
            if (HasMomentum)
            {
                StateDot(dS, p, a.StateDots.FromRow(1));
                StateDot(dP, p, a.StateDots.FromRow(2));
            }

            long tokens = (long)Problems.Count * n;
            _backend.LaunchItems(ChunkBackwardKernels.Dots, tokens, a);
            _backend.LaunchItems(ChunkBackwardKernels.Coefficients, (long)Problems.Count * (n + 1), a);
            _backend.LaunchItems(ChunkBackwardKernels.Gates, tokens, a);
            _backend.LaunchItems(ChunkBackwardKernels.Triangles, tokens * n, a);
            _backend.LaunchItems(ChunkBackwardKernels.Rows, tokens * _keyDim, a);
            if (a.DU.Given)
                _backend.LaunchItems(ChunkBackwardKernels.Writes, tokens * _valueDim, a);
        }

        private Matrix ReadState(Matrix s) => ReadsAtStart && Start.Given ? Start : s;

        private static ChunkArguments Of(ChunkArguments a, Problems problems, int chunk) => a with
        {
            Problems = problems,
            Alpha = Only(a.Alpha, chunk),
            Erase = Only(a.Erase, chunk),
            Mu = Only(a.Mu, chunk),
            Theta = Only(a.Theta, chunk),
            A = Only(a.A, chunk),
            B = Only(a.B, chunk),
            C = Only(a.C, chunk),
            G = Only(a.G, chunk),
            X = Only(a.X, chunk),
            WriteS = Only(a.WriteS, chunk),
            WriteP = Only(a.WriteP, chunk),
            ReadS = Only(a.ReadS, chunk),
            ReadP = Only(a.ReadP, chunk),
            KeyProducts = Only(a.KeyProducts, chunk),
            QueryProducts = Only(a.QueryProducts, chunk),
            N = Only(a.N, chunk),
            M = Only(a.M, chunk),
        };

        private void Triangles(ChunkArguments a) =>
            _backend.LaunchItems(ChunkKernels.Triangles, (long)Problems.Count * Problems.Length * Problems.Length, a);

        private Problems Of(int? only) => only is int chunk ? Only(Problems, chunk) : Problems;

        private static Matrix Of(Matrix matrix, int? only) => only is int chunk ? Only(matrix, chunk) : matrix;

        private static ProductArguments TokenRows(Problems problems) => new() { Problems = problems, M = problems.Length, TokenRows = 1 };

        // A row of G or X of one chunk as a vector over earlier writes, and an element of a, b or c.
        private static Matrix AtRow(Matrix matrix, int chunk, int row) => Only(matrix, chunk).FromRow(row) with { Row = 1 };

        private static Matrix Scalar(Matrix vector, int chunk, int row) => Only(vector, chunk).FromRow(row) with { Row = 0 };

        // ⟨x_t, y_i⟩ of a chunk's tokens.
        private void Pairs(Matrix x, Matrix y, Matrix result, int dim) =>
            _backend.Product(TokenRows(Problems) with
            {
                A = x,
                B = y.Transposed(),
                K = dim,
                C = result,
                N = Problems.Length,
                TokenColumns = 1
            });

        /// <summary>Rows of tokens through the transpose of a state.</summary>
        public Matrix ThroughState(Matrix rows, Matrix state, int dim)
        {
            Matrix result = Take(Problems.Length, _keyDim);
            _backend.Product(TokenRows(Problems) with { A = rows, B = state.Transposed(), K = dim, C = result, N = _keyDim });
            return result;
        }

        private void StateDot(Matrix x, Matrix y, Matrix result) =>
            _backend.Launch(ChunkBackwardKernels.StateDot, Problems.Count,
                new StateDotArguments { Problems = Problems, X = x, Y = y, Out = result, Rows = _keyDim, Columns = _valueDim });

        private void AddTriangle(Action<TriangleArguments> kernel, Problems problems, Matrix triangle, Matrix from, Matrix to) =>
            _backend.LaunchItems(kernel, (long)problems.Count * problems.Length * _readDim, new TriangleArguments
            {
                Problems = problems, Triangle = triangle, In = from, Out = to, Columns = _readDim, Diagonal = Chunk.ReadsAfter,
            });
    }
}
