using System.Numerics.Tensors;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>
/// The scan's backward pass over one head, chunk by chunk from the last, each chunk computed again from its saved start.
/// The derivation stands in native/kernels/scan/README.md; its names are used here.
/// </summary>
internal readonly unsafe struct ScanBackwardPiece(ScanInputs inputs, ScanSettings settings, ScanSaved saved, ScanOutputGradients upstream, ScanGradients gradients) : IPieceAction
{
    public void Invoke(int piece)
    {
        int dk = inputs.KeyDim, dv = inputs.ValueDim, time = inputs.Time;
        bool momentum = inputs.Mu is not null;

        var measure = new ScratchArena(null);
        _ = new Workspace(ref measure, inputs, settings, piece);
        var arena = new ScratchArena(Scratch.Take(measure.Length));
        var work = new Workspace(ref arena, inputs, settings, piece);

        LoadGradient(upstream.S, piece, work.DS);
        LoadGradient(upstream.ChunkStart, piece, work.DFrozen);
        if (momentum)
            LoadGradient(upstream.P, piece, work.DP);

        ChunkPlan plan = settings.Plan(time);
        if (plan.NextPhase == 0)
            AddFrozen(ref work);
        for (int index = plan.Count - 1; index >= 0; index--)
        {
            bool beganBefore = plan.BeganBefore(index);
            MatrixView s = HeadRows.State(saved.States, piece, index);
            MatrixView p = momentum ? HeadRows.State(saved.Momenta, piece, index) : default;
            MatrixView frozen = beganBefore ? HeadRows.State(inputs.ChunkStart, piece) : s;
            work.Chunk.Load(plan.Start(index), plan.Length(index), beganBefore);
            work.Chunk.ComputeWrites(s, p, frozen);
            ChunkBackward(ref work, s, p, frozen, piece);
            if (!beganBefore && index == plan.Count - 1)
                AddFrozen(ref work);
        }

        if (gradients.S0 is not null)
            Subnormals.Copy(work.DS, dk, dv, HeadRows.State(gradients.S0, piece));
        if (gradients.P0 is not null)
            Subnormals.Copy(work.DP, dk, dv, HeadRows.State(gradients.P0, piece));
        if (gradients.ChunkStart is not null)
            Subnormals.Copy(work.DFrozen, dk, dv, HeadRows.State(gradients.ChunkStart, piece));
    }

    // dS += dS_c where S is S_c.
    private static void AddFrozen(ref Workspace work)
    {
        int dk = work.Chunk.KeyDim, dv = work.Chunk.ValueDim;
        AddScaled(work.DFrozen, 1, dk, dv, work.DS);
        Clear(work.DFrozen, dk, dv);
    }

    private void ChunkBackward(ref Workspace work, MatrixView s, MatrixView p, MatrixView frozen, int piece)
    {
        ref ScanChunk chunk = ref work.Chunk;
        ref ChunkCoefficientGradients d = ref work.Coefficients;
        int n = chunk.Length, dk = chunk.KeyDim, dv = chunk.ValueDim;
        bool strictRead = settings.Read == ScanRead.Before, readsAtStart = settings.Read == ScanRead.ChunkStart;
        MatrixView dFrozen = chunk.BeganBefore ? work.DFrozen : work.DS;
        MatrixView dO = HeadRows.Tokens(upstream.O, piece / inputs.Heads, piece % inputs.Heads);
        if (!dO.IsNull)
            dO = dO.FromRow(chunk.Start);
        bool reads = !dO.IsNull && !readsAtStart;
        readsAtStart &= !dO.IsNull;

        d.Clear(n);
        Clear(work.DQ, n, dk);
        Clear(work.DK, n, dk);
        Span(work.DErase, n).Clear();
        Span(work.DTheta, n).Clear();

        // What the chunk leaves behind: W dSᵀ serves both dk and dG_n.
        LeftBehind(ref work, work.DS, chunk.Coefficients.G.Row(n), d.G.Row(n));
        d.A[n] += Dot(work.DS, s, dk, dv);
        if (chunk.HasMomentum)
        {
            d.B[n] += Dot(work.DS, p, dk, dv);
            d.C[n] += Dot(work.DP, p, dk, dv);
            LeftBehind(ref work, work.DP, chunk.Coefficients.X.Row(n), d.X.Row(n));
        }

        // dW = Kg dS + Kx dP + Mᵀ dO, then back through the triangular solve: Y = (I − N)⁻ᵀ dW.
        MatrixView y = work.Y;
        Clear(y, n, dv);
        Add(y, chunk.Kg, work.DS, n, dv, dk);
        if (chunk.HasMomentum)
            Add(y, chunk.Kx, work.DP, n, dv, dk);
        if (reads)
            AddUpper(y, chunk.ReadMatrix.Transposed, dO, n, dv, strictRead);
        if (chunk.Erases)
            AddUpper(y, chunk.EraseMatrix.Transposed, y, n, dv, strict: true);
        Subnormals.Flush(y, n, dv);

        if (readsAtStart)
            StateReadsOfQueries(ref work, dO, Transpose(frozen, dk, dv, work.StateTransposed.Start), work.Chunk.Coefficients.A, d.A);
        if (chunk.IsFrozen && chunk.BeganBefore)
            FrozenReadsOfWrites(ref work, y, Transpose(frozen, dk, dv, work.StateTransposed.Start));
        MatrixView statesTransposed = Transpose(s, dk, dv, work.StateTransposed.Start);
        bool needsState = chunk.WritesReadState;
        if (needsState)
            StateReadsOfWrites(ref work, y, statesTransposed);
        if (reads)
            StateReadsOfQueries(ref work, dO, statesTransposed, work.Chunk.Coefficients.A, d.A);
        if (chunk.HasMomentum)
        {
            MatrixView momentaTransposed = Transpose(p, dk, dv, work.StateTransposed.Start);
            if (chunk.Erases)
                MomentumReadsOfWrites(ref work, y, momentaTransposed);
            if (reads)
                StateReadsOfQueries(ref work, dO, momentaTransposed, work.Chunk.Coefficients.B, d.B);
        }

        InsideChunk(ref work, y, reads ? dO : default);
        d.Propagate(chunk.Coefficients, n);
        if (chunk.ScalesWrites)
        {
            for (int t = 0; t < n; t++)
                work.DTheta[t] += Dot(y.Row(t), chunk.U.Row(t), dv);
        }

        Store(ref work, y, piece);

        // dS ← a_n dS + Qsᵀ dO + Ksᵀ Y and the same for P.
        chunk.Coefficients.DecayBackward(n, work.DS, work.DP, dk, dv);
        if (chunk.HasMomentum)
        {
            if (reads)
                Add(work.DP, chunk.Qp.Transposed, dO, dk, dv, n);
            if (chunk.Erases)
                Add(work.DP, chunk.Kp.Transposed, y, dk, dv, n);
            Subnormals.Flush(work.DP, dk, dv);
        }

        if (reads)
            Add(work.DS, chunk.Qs.Transposed, dO, dk, dv, n);
        if (needsState)
            Add(work.DS, chunk.Ks.Transposed, y, dk, dv, n);
        if (readsAtStart)
            Add(dFrozen, chunk.Qs.Transposed, dO, dk, dv, n);
        if (chunk.IsFrozen && chunk.BeganBefore)
            Add(dFrozen, chunk.Kc.Transposed, y, dk, dv, n);
        Subnormals.Flush(work.DS, dk, dv);
    }

    // S_n += Σ_i g_i k_iᵀ w_i:  dk_i += g_i w_i dSᵀ,  dg_i += ⟨k_i, w_i dSᵀ⟩.
    private static void LeftBehind(ref Workspace work, MatrixView dState, float* g, float* dg)
    {
        ref ScanChunk chunk = ref work.Chunk;
        int n = chunk.Length, dk = chunk.KeyDim, dv = chunk.ValueDim;
        MatrixView transposed = Transpose(dState, dk, dv, work.StateTransposed.Start);
        Clear(work.Rows, n, dk);
        Add(work.Rows, chunk.W, transposed, n, dk, dv);
        AddScaledRows(work.Rows, g, n, dk, work.DK);
        for (int i = 0; i < n; i++)
            dg[i] += Dot(work.Rows.Row(i), chunk.K.Row(i), dk);
    }

    // w_t takes −(ε_t a_{t−1} + [frozen L2] θ_t) k_t S. With z_t = y_t Sᵀ and κ_t = ⟨z_t, k_t⟩ every gradient of it follows.
    private static void StateReadsOfWrites(ref Workspace work, MatrixView y, MatrixView statesTransposed)
    {
        ref ScanChunk chunk = ref work.Chunk;
        int n = chunk.Length, dk = chunk.KeyDim;
        Clear(work.Rows, n, dk);
        Add(work.Rows, y, statesTransposed, n, dk, chunk.ValueDim);
        for (int t = 0; t < n; t++)
        {
            float* z = work.Rows.Row(t);
            float kappa = Dot(z, chunk.K.Row(t), dk);
            AddScaled(z, -chunk.StateFactor(t), dk, work.DK.Row(t));
            work.DErase[t] -= chunk.Coefficients.A[t] * kappa;
            work.Coefficients.A[t] -= chunk.Erase[t] * kappa;
            if (chunk.IsFrozen && !chunk.BeganBefore)
                work.DTheta[t] -= kappa;
        }
    }

    // w_t takes −θ_t k_t S_c.
    private static void FrozenReadsOfWrites(ref Workspace work, MatrixView y, MatrixView frozenTransposed)
    {
        ref ScanChunk chunk = ref work.Chunk;
        int n = chunk.Length, dk = chunk.KeyDim;
        Clear(work.Rows, n, dk);
        Add(work.Rows, y, frozenTransposed, n, dk, chunk.ValueDim);
        for (int t = 0; t < n; t++)
        {
            float* z = work.Rows.Row(t);
            work.DTheta[t] -= Dot(z, chunk.K.Row(t), dk);
            AddScaled(z, -chunk.Theta[t], dk, work.DK.Row(t));
        }
    }

    // w_t takes −ε_t b_{t−1} k_t P.
    private static void MomentumReadsOfWrites(ref Workspace work, MatrixView y, MatrixView momentaTransposed)
    {
        ref ScanChunk chunk = ref work.Chunk;
        int n = chunk.Length, dk = chunk.KeyDim;
        Clear(work.Rows, n, dk);
        Add(work.Rows, y, momentaTransposed, n, dk, chunk.ValueDim);
        for (int t = 0; t < n; t++)
        {
            float* z = work.Rows.Row(t);
            float kappa = Dot(z, chunk.K.Row(t), dk);
            AddScaled(z, -chunk.Erase[t] * chunk.Coefficients.B[t], dk, work.DK.Row(t));
            work.DErase[t] -= chunk.Coefficients.B[t] * kappa;
            work.Coefficients.B[t] -= chunk.Erase[t] * kappa;
        }
    }

    // o_t takes scale · a q_t S (a of the read row), and scale · b q_t P.
    private void StateReadsOfQueries(ref Workspace work, MatrixView dO, MatrixView transposed, float* factors, float* dFactors)
    {
        ref ScanChunk chunk = ref work.Chunk;
        int n = chunk.Length, dk = chunk.KeyDim;
        Clear(work.Rows, n, dk);
        Add(work.Rows, dO, transposed, n, dk, chunk.ValueDim);
        for (int t = 0; t < n; t++)
        {
            int row = ChunkTriangles.ReadRow(settings.Read, t);
            float* z = work.Rows.Row(t);
            AddScaled(z, settings.Scale * factors[row], dk, work.DQ.Row(t));
            dFactors[row] += settings.Scale * Dot(z, chunk.Q.Row(t), dk);
        }
    }

    // What tokens of the chunk do to each other: W = .. + N W and O = .. + M W.
    private void InsideChunk(ref Workspace work, MatrixView y, MatrixView dO)
    {
        ref ScanChunk chunk = ref work.Chunk;
        ref ChunkCoefficientGradients d = ref work.Coefficients;
        int n = chunk.Length, dk = chunk.KeyDim, dv = chunk.ValueDim;
        MatrixView writesTransposed = Transpose(chunk.W, n, dv, work.WritesTransposed.Start);
        if (chunk.Erases)
        {
            LowerTriangle(work.Products, y, writesTransposed, n, dv);
            ChunkTriangles.EraseBackward(chunk.Coefficients, chunk.Erase, chunk.KeyProducts, work.Products, n, work.DProducts, d.G, work.DErase);
            AddLower(work.DK, work.DProducts, chunk.K, n, dk, strict: true);
            AddUpper(work.DK, work.DProducts.Transposed, chunk.K, n, dk, strict: true);
        }

        if (!dO.IsNull)
        {
            bool strict = settings.Read == ScanRead.Before;
            LowerTriangle(work.Products, dO, writesTransposed, n, dv);
            ChunkTriangles.ReadBackward(chunk.Coefficients, settings.Read, settings.Scale, chunk.QueryProducts, work.Products, n, work.DProducts, d.G);
            AddLower(work.DQ, work.DProducts, chunk.K, n, dk, strict);
            AddUpper(work.DK, work.DProducts.Transposed, chunk.Q, n, dk, strict);
        }
    }

    private void Store(ref Workspace work, MatrixView y, int piece)
    {
        ref ScanChunk chunk = ref work.Chunk;
        int n = chunk.Length, chunkStart = chunk.Start, batch = piece / inputs.Heads, head = piece % inputs.Heads;
        if (gradients.Q is not null)
            Subnormals.Copy(work.DQ, n, chunk.KeyDim, HeadRows.Tokens(gradients.Q, batch, head).FromRow(chunkStart));
        if (gradients.K is not null)
            Subnormals.Copy(work.DK, n, chunk.KeyDim, HeadRows.Tokens(gradients.K, batch, head).FromRow(chunkStart));
        if (gradients.U is not null)
        {
            MatrixView dU = HeadRows.Tokens(gradients.U, batch, head).FromRow(chunkStart);
            ScaleRows(y, chunk.Theta, n, chunk.ValueDim, dU);
            Subnormals.Flush(dU, n, chunk.ValueDim);
        }

        // d log α = α dα, which is 0 where α is.
        TensorPrimitives.Multiply(Span(work.Coefficients.Alpha, n), Span(chunk.Coefficients.Alpha, n), Span(work.Coefficients.Alpha, n));
        StoreGate(gradients.LogAlpha, work.Coefficients.Alpha);
        StoreGate(gradients.Erase, work.DErase);
        StoreGate(gradients.Theta, work.DTheta);
        if (chunk.HasMomentum)
            StoreGate(gradients.Mu, work.Coefficients.Mu);

        void StoreGate(Tensor? gate, float* values)
        {
            if (gate is not null)
                Subnormals.Copy(new MatrixView(values, 1), n, 1, HeadRows.Tokens(gate, batch, head).FromRow(chunkStart));
        }
    }

    private void LoadGradient(Tensor? source, int piece, MatrixView gradient)
    {
        if (source is null)
            Clear(gradient, inputs.KeyDim, inputs.ValueDim);
        else
            CopyRows(HeadRows.State(source, piece), inputs.KeyDim, inputs.ValueDim, gradient);
    }

    private struct Workspace
    {
        public ScanChunk Chunk;
        public ChunkCoefficientGradients Coefficients;

        /// <summary>dL/dS and dL/dP at the chunk's end, then at its start.</summary>
        public readonly MatrixView DS, DP;

        /// <summary>dL/dS_c where it is not S, at first what arrives at the last chunk's.</summary>
        public readonly MatrixView DFrozen;

        /// <summary>Y [n, Dv]: dW taken back through the solve.</summary>
        public readonly MatrixView Y;
        public readonly MatrixView DQ, DK, Rows;
        public readonly MatrixView StateTransposed, WritesTransposed;
        public readonly MatrixView Products, DProducts;
        public readonly float* DErase, DTheta;

        public Workspace(ref ScratchArena arena, in ScanInputs inputs, ScanSettings settings, int piece)
        {
            int n = Math.Min(settings.Chunk, inputs.Time), dk = inputs.KeyDim, dv = inputs.ValueDim;
            bool momentum = inputs.Mu is not null;
            Chunk = new ScanChunk(ref arena, inputs, settings, piece, 0, dv);
            Coefficients = new ChunkCoefficientGradients(ref arena, n, momentum);
            DS = arena.Matrix(dk, dv);
            DP = momentum ? arena.Matrix(dk, dv) : default;
            Y = arena.Matrix(n, dv);
            DQ = arena.Matrix(n, dk);
            DK = arena.Matrix(n, dk);
            Rows = arena.Matrix(n, dk);
            StateTransposed = arena.Matrix(dv, dk);
            WritesTransposed = arena.Matrix(dv, n);
            Products = arena.Matrix(n, n);
            DProducts = arena.Matrix(n, n);
            DErase = arena.Vector(n);
            DFrozen = arena.Matrix(dk, dv);
            DTheta = arena.Vector(n);
        }
    }
}
