using System.Numerics.Tensors;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>
/// The self-modifying scan's backward pass over one head, chunk by chunk from the last, each computed again from its saved
/// start. The derivation stands in native/kernels/self_modifying/README.md; its names are used here.
/// </summary>
internal readonly unsafe struct SelfModifyingBackwardPiece(
    SelfModifyingInputs inputs,
    SelfModifyingSettings settings,
    Tensor chunkStates,
    SelfModifyingOutputGradients upstream,
    SelfModifyingGradients gradients) : IPieceAction
{
    public void Invoke(int piece)
    {
        var measure = new ScratchArena(null);
        _ = new Workspace(ref measure, inputs, settings, piece);
        var arena = new ScratchArena(Scratch.Take(measure.Length));
        var work = new Workspace(ref arena, inputs, settings, piece);

        int dim = inputs.Dim, columns = work.Chunk.Columns;
        ChunkPlan plan = settings.Plan(inputs.Time);
        LoadGradient(upstream.S, piece, work.DS, dim);
        LoadGradient(upstream.ChunkStart, piece, work.DFrozen, dim);
        if (plan.NextPhase == 0)
            AddFrozen(ref work);

        for (int index = plan.Count - 1; index >= 0; index--)
        {
            SelfModifyingChunk.LoadState(HeadRows.State(chunkStates, piece, index), dim, work.S);
            if (plan.BeganBefore(index))
                SelfModifyingChunk.LoadState(HeadRows.State(inputs.ChunkStart, piece), dim, work.Frozen);
            work.Chunk.Load(plan.Start(index), plan.Length(index), work.S, plan.BeganBefore(index) ? work.Frozen : work.S);
            ChunkBackward(ref work, piece);
            if (!work.Chunk.BeganBefore && index == plan.Count - 1)
                AddFrozen(ref work);
        }

        if (gradients.S0 is not null)
            Subnormals.Copy(work.DS, dim, columns, HeadRows.State(gradients.S0, piece));
        if (gradients.ChunkStart is not null)
            Subnormals.Copy(work.DFrozen, dim, columns, HeadRows.State(gradients.ChunkStart, piece));
    }

    private static void LoadGradient(Tensor? source, int piece, MatrixView gradient, int dim)
    {
        if (source is null)
            Clear(gradient, dim, SelfModifyingChunk.Padded(SelfModifyingSettings.StateColumns(dim)));
        else
            SelfModifyingChunk.LoadState(HeadRows.State(source, piece), dim, gradient);
    }

    // dS += dS_c where S is S_c.
    private static void AddFrozen(ref Workspace work)
    {
        AddScaled(work.DFrozen, 1, work.Chunk.Dim, work.Chunk.Columns, work.DS);
        Clear(work.DFrozen, work.Chunk.Dim, work.Chunk.PaddedColumns);
    }

    private void ChunkBackward(ref Workspace work, int piece)
    {
        ref SelfModifyingChunk chunk = ref work.Chunk;
        ref ChunkCoefficientGradients d = ref work.Coefficients;
        int n = chunk.Length, dim = chunk.Dim, columns = chunk.Columns, padded = chunk.PaddedColumns;
        int batch = piece / inputs.Heads, head = piece % inputs.Heads, start = chunk.Start;
        bool strict = settings.Read == ScanRead.Before, readsAtStart = settings.Read == ScanRead.ChunkStart;
        MatrixView s = work.S, dS = work.DS, y = work.Y, dQ = work.DQ, dK = work.DK;
        MatrixView frozen = chunk.BeganBefore ? work.Frozen : s, dFrozen = chunk.BeganBefore ? work.DFrozen : dS;
        MatrixView dO = HeadRows.Tokens(upstream.O, batch, head).FromRow(start);

        d.Clear(n);
        Span(work.DErase, n).Clear();
        d.A[n] = Dot(dS, s, dim, columns);

        // What the chunk leaves behind, Kgᵀ W: dk_i = G_ni w_i dSᵀ, dG_ni = ⟨k_i, w_i dSᵀ⟩.
        MatrixView transposed = Transpose(dS, dim, columns, work.StateTransposed.Start);
        Clear(work.Rows, n, dim);
        Add(work.Rows, chunk.W, transposed, n, dim, columns);
        ScaleRows(work.Rows, chunk.Coefficients.G.Row(n), n, dim, dK);
        for (int i = 0; i < n; i++)
            d.G.Row(n)[i] = Dot(work.Rows.Row(i), chunk.K.Row(i), dim);

        // dW = Kg dS, and Mᵀ dO in the columns of mem; then Y = (I − N)⁻ᵀ dW.
        Clear(y, n, padded);
        Add(y, chunk.Kg, dS, n, padded, dim);
        if (!readsAtStart)
            AddUpper(y.FromColumn(2 * dim), chunk.ReadMatrix.Transposed, dO, n, dim, strict);
        AddUpper(y, chunk.EraseMatrix.Transposed, y, n, padded, strict: true);
        Subnormals.Flush(y, n, padded);

        if (chunk.BeganBefore)
        {
            // w_t = .. − ε_t a_{t−1} k_t S: z_t = y_t Sᵀ, and κ_t = ⟨z_t, k_t⟩.
            transposed = Transpose(s, dim, columns, work.StateTransposed.Start);
            Clear(work.Rows, n, dim);
            Add(work.Rows, y, transposed, n, dim, columns);
            for (int t = 0; t < n; t++)
            {
                float kappa = Dot(work.Rows.Row(t), chunk.K.Row(t), dim);
                AddScaled(work.Rows.Row(t), -chunk.Erase[t] * chunk.Coefficients.A[t], dim, dK.Row(t));
                work.DErase[t] -= chunk.Coefficients.A[t] * kappa;
                d.A[t] -= chunk.Erase[t] * kappa;
            }

            if (!readsAtStart)
                QueryGradients(ref work, dO, transposed);
        }

        transposed = Transpose(frozen, dim, columns, work.StateTransposed.Start);
        if (!chunk.BeganBefore || readsAtStart)
            QueryGradients(ref work, dO, transposed);

        // Writes' reads of S_c, w_t = η_t f_t S + ..: z_t = y_t Sᵀ, dη_t = ⟨z_t, f_t⟩, df_t = η_t z_t, then f = v − g k.
        Clear(work.DF, n, dim);
        Add(work.DF, y, transposed, n, dim, columns);
        for (int t = 0; t < n; t++)
        {
            float* df = work.DF.Row(t);
            work.DEta[t] = Dot(df, chunk.F.Row(t), dim);
            TensorPrimitives.Multiply(Span(df, dim), chunk.Eta[t], Span(df, dim));
            AddScaled(df, -chunk.Gamma[t], dim, dK.Row(t));
            if (!chunk.BeganBefore)
                d.A[t] -= settings.EraseFactor * Dot(df, chunk.K.Row(t), dim);
        }

        TokenGradients(ref work, dO);
        d.Propagate(chunk.Coefficients, n);

        ProjectionGradients(ref work);

        // x took x S_c over [k | v] and [η | α].
        MatrixView dX = work.Rows;
        Clear(dX, n, dim);
        Add(dX, work.DProjections, transposed, n, dim, 2 * dim);
        Add(dX, work.DGates, transposed.FromRow(3 * dim), n, dim, 2);

        StateGradients(ref work, dO, dFrozen);
        if (gradients.X is not null)
            Subnormals.Copy(dX, n, dim, HeadRows.Tokens(gradients.X, batch, head).FromRow(start));
        if (gradients.Q is not null)
            Subnormals.Copy(dQ, n, dim, HeadRows.Tokens(gradients.Q, batch, head).FromRow(start));
    }

    // What tokens of the chunk do to each other: W = .. + N W and O = .. + M W.
    private void TokenGradients(ref Workspace work, MatrixView dO)
    {
        ref SelfModifyingChunk chunk = ref work.Chunk;
        int n = chunk.Length, dim = chunk.Dim, columns = chunk.Columns;
        bool strict = settings.Read == ScanRead.Before;
        MatrixView writesTransposed = Transpose(chunk.W, n, columns, work.WritesTransposed.Start);
        LowerTriangle(work.Products, work.Y, writesTransposed, n, columns);
        ChunkTriangles.EraseBackward(
            chunk.Coefficients, chunk.Erase, chunk.KeyProducts, work.Products, n, work.DProducts, work.Coefficients.G, work.DErase);
        AddLower(work.DK, work.DProducts, chunk.K, n, dim, strict: true);
        AddUpper(work.DK, work.DProducts.Transposed, chunk.K, n, dim, strict: true);
        if (settings.Read != ScanRead.ChunkStart)
        {
            LowerTriangle(work.Products, dO, writesTransposed.FromRow(2 * dim), n, dim);
            ChunkTriangles.ReadBackward(
                chunk.Coefficients, settings.Read, chunk.QueryProducts, work.Products, n, work.DProducts, work.Coefficients.G);
            AddLower(work.DQ, work.DProducts, chunk.K, n, dim, strict);
            AddUpper(work.DK, work.DProducts.Transposed, chunk.Q, n, dim, strict);
        }
    }

    // dS ← a_n dS + Ksᵀ Y + Qsᵀ dO in mem, and dS_c += (η f)ᵀ Y + Xᵀ times the projections' gradients (+ Qᵀ dO).
    private void StateGradients(ref Workspace work, MatrixView dO, MatrixView dFrozen)
    {
        ref SelfModifyingChunk chunk = ref work.Chunk;
        int n = chunk.Length, dim = chunk.Dim, columns = chunk.Columns, padded = chunk.PaddedColumns;
        MatrixView dS = work.DS, y = work.Y;
        chunk.Coefficients.DecayBackward(n, dS, default, dim, columns);
        if (chunk.BeganBefore)
            Add(dS, chunk.Ks.Transposed, y, dim, padded, n);
        Add(dFrozen, chunk.EtaF.Transposed, y, dim, padded, n);
        Add((settings.Read == ScanRead.ChunkStart ? dFrozen : dS).FromColumn(2 * dim), chunk.Qs.Transposed, dO, dim, dim, n);
        Add(dFrozen, chunk.X.Transposed, work.DProjections, dim, 2 * dim, n);
        Add(dFrozen.FromColumn(3 * dim), chunk.X.Transposed, work.DGates, dim, 2, n);
        Subnormals.Flush(dS, dim, columns);
    }

    // o_t = a q_t S_mem + .., S by its transpose: z_t = do_t S_memᵀ.
    private void QueryGradients(ref Workspace work, MatrixView dO, MatrixView transposed)
    {
        ref SelfModifyingChunk chunk = ref work.Chunk;
        int n = chunk.Length, dim = chunk.Dim;
        Clear(work.Rows, n, dim);
        Add(work.Rows, dO, transposed.FromRow(2 * dim), n, dim, dim);
        for (int t = 0; t < n; t++)
        {
            int row = ChunkTriangles.ReadRow(settings.Read, t);
            TensorPrimitives.Multiply(Span(work.Rows.Row(t), dim), chunk.Coefficients.A[row], Span(work.DQ.Row(t), dim));
            work.Coefficients.A[row] += Dot(work.Rows.Row(t), chunk.Q.Row(t), dim);
        }
    }

    // From dk, dv = df, dη and dα to the gradients of the projections [k before its norm | v] and [η | α].
    private void ProjectionGradients(ref Workspace work)
    {
        ref SelfModifyingChunk chunk = ref work.Chunk;
        int dim = chunk.Dim;
        for (int t = 0; t < chunk.Length; t++)
        {
            float* row = work.DProjections.Row(t), dv = work.DF.Row(t);
            NormGradient(chunk.InverseNorm[t], chunk.K.Row(t), work.DK.Row(t), row, dim);
            if (settings.NormalizeValues)
                NormGradient(chunk.InverseValueNorm[t], chunk.Projections.Row(t) + dim, dv, row + dim, dim);
            else
                Span(dv, dim).CopyTo(Span(row + dim, dim));

            float* gates = work.DGates.Row(t);
            gates[0] = (work.DEta[t] + settings.EraseFactor * work.DErase[t]) * settings.EtaScale
                * SelfModifyingChunk.Sigmoid(chunk.EtaInput[t]);
            gates[1] = work.Coefficients.Alpha[t] * chunk.Coefficients.Alpha[t] * SelfModifyingChunk.Sigmoid(-chunk.AlphaInput[t]);
        }
    }

    // From y = r x with r = 1/√(Σx² + ε²):  dx = r (dy − ⟨dy, y⟩ y). Overwrites dy.
    private static void NormGradient(float r, float* y, float* dy, float* dx, int count)
    {
        AddScaled(y, -Dot(dy, y, count), count, dy);
        TensorPrimitives.Multiply(Span(dy, count), r, Span(dx, count));
    }

    private struct Workspace
    {
        public SelfModifyingChunk Chunk;
        public ChunkCoefficientGradients Coefficients;

        /// <summary>The state before the chunk's first token, and dL/dS at its end, then there; rows padded.</summary>
        public readonly MatrixView S, DS;

        /// <summary>S_c where it is not S; and its gradient, at first what arrives at the last chunk's.</summary>
        public readonly MatrixView Frozen, DFrozen;

        /// <summary>Y [n, padded columns]: dW taken back through the solve.</summary>
        public readonly MatrixView Y;
        public readonly MatrixView DQ, DK, DF, Rows;

        /// <summary>[n, 2D] and [n, 2].</summary>
        public readonly MatrixView DProjections, DGates;
        public readonly MatrixView StateTransposed, WritesTransposed;
        public readonly MatrixView Products, DProducts;
        public readonly float* DEta, DErase;

        public Workspace(ref ScratchArena arena, in SelfModifyingInputs inputs, SelfModifyingSettings settings, int piece)
        {
            int n = Math.Min(settings.Chunk, inputs.Time), dim = inputs.Dim;
            Chunk = new SelfModifyingChunk(ref arena, inputs, settings, piece);
            Coefficients = new ChunkCoefficientGradients(ref arena, n, momentum: false);
            S = arena.Matrix(dim, Chunk.PaddedColumns);
            DS = arena.Matrix(dim, Chunk.PaddedColumns);
            Y = arena.Matrix(n, Chunk.PaddedColumns);
            DQ = arena.Matrix(n, dim);
            DK = arena.Matrix(n, dim);
            DF = arena.Matrix(n, dim);
            Rows = arena.Matrix(n, dim);
            DProjections = arena.Matrix(n, 2 * dim);
            DGates = arena.Matrix(n, 2);
            StateTransposed = arena.Matrix(Chunk.Columns, dim);
            WritesTransposed = arena.Matrix(Chunk.Columns, n);
            Products = arena.Matrix(n, n);
            DProducts = arena.Matrix(n, n);
            DEta = arena.Vector(n);
            DErase = arena.Vector(n);
            Frozen = settings.Phase == 0 ? default : arena.Matrix(dim, Chunk.PaddedColumns);
            DFrozen = arena.Matrix(dim, Chunk.PaddedColumns);
        }
    }
}
