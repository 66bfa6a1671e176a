using System.Numerics.Tensors;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>
/// One layer of a deep memory over a chunk: the scan of docs/specification.md, section 1 with keys, queries and writes made elsewhere, and
/// coefficients that both layers share. Names as in native/kernels/scan/README.md; Dk by Dv weights W with momentum P.
/// </summary>
internal readonly unsafe struct DeepMemoryLayer(ref ScratchArena arena, int chunk, int keyDim, int valueDim, bool erases, bool momentum)
{
    public readonly int KeyDim = keyDim, ValueDim = valueDim;

    /// <summary>[n, Dk]: unit inputs, and what reads.</summary>
    public readonly MatrixView Keys = arena.Matrix(chunk, keyDim), Queries = arena.Matrix(chunk, keyDim);

    /// <summary>[n, Dv]: u, then what is really written.</summary>
    public readonly MatrixView Writes = arena.Matrix(chunk, valueDim);

    /// <summary>K W and K P [n, Dv].</summary>
    private readonly MatrixView _erasedW = erases ? arena.Matrix(chunk, valueDim) : default;
    private readonly MatrixView _erasedP = erases && momentum ? arena.Matrix(chunk, valueDim) : default;

    private readonly MatrixView _keyProducts = arena.Matrix(chunk, chunk), _queryProducts = arena.Matrix(chunk, chunk);
    private readonly MatrixView _eraseMatrix = arena.Matrix(chunk, chunk), _readMatrix = arena.Matrix(chunk, chunk);
    private readonly MatrixView _keysTransposed = arena.Matrix(keyDim, chunk), _rows = arena.Matrix(chunk, keyDim);

    /// <summary>From u to what is written: (I − N) Writes = u − diag(ε a) K W − diag(ε b) K P.</summary>
    public void Write(in ChunkCoefficients x, float* erase, int n, MatrixView w, MatrixView p)
    {
        Transpose(Keys, n, KeyDim, _keysTransposed.Start);
        if (_erasedW.IsNull)
            return;
        Erase(_erasedW, w, x.A, erase, n);
        if (!_erasedP.IsNull)
            Erase(_erasedP, p, x.B, erase, n);
        LowerTriangle(_keyProducts, Keys, KeysTransposed(n), n, KeyDim);
        ChunkTriangles.Erase(x, erase, _keyProducts, n, _eraseMatrix);
        AddLower(Writes, _eraseMatrix, Writes, n, ValueDim, strict: true);
    }

    /// <summary>The queries' triangles, once they are there.</summary>
    public void PrepareRead(in ChunkCoefficients x, ScanRead read, int n)
    {
        LowerTriangle(_queryProducts, Queries, KeysTransposed(n), n, KeyDim);
        ChunkTriangles.Read(x, read, _queryProducts, n, _readMatrix);
    }

    /// <summary>result [n, Dv] = diag(a_ρ) Q W + diag(b_ρ) Q P + M Writes.</summary>
    public void Read(in ChunkCoefficients x, ScanRead read, int n, MatrixView w, MatrixView p, MatrixView result)
    {
        int first = ChunkTriangles.ReadRow(read, 0);
        Clear(result, n, ValueDim);
        ScaleRows(Queries, x.A + first, n, KeyDim, _rows);
        Add(result, _rows, w, n, ValueDim, KeyDim);
        if (x.HasMomentum)
        {
            ScaleRows(Queries, x.B + first, n, KeyDim, _rows);
            Add(result, _rows, p, n, ValueDim, KeyDim);
        }

        AddLower(result, _readMatrix, Writes, n, ValueDim, strict: read == ScanRead.Before);
    }

    /// <summary>W ← a_n W + b_n P + Kᵀ diag(G_n) Writes and P ← c_n P + Kᵀ diag(X_n) Writes.</summary>
    public void Advance(in ChunkCoefficients x, int n, MatrixView w, MatrixView p)
    {
        x.Decay(n, w, p, KeyDim, ValueDim);
        if (x.HasMomentum)
        {
            ScaleRows(Keys, x.X.Row(n), n, KeyDim, _rows);
            Add(p, _rows.Transposed, Writes, KeyDim, ValueDim, n);
            Subnormals.Flush(p, KeyDim, ValueDim);
        }

        ScaleRows(Keys, x.G.Row(n), n, KeyDim, _rows);
        Add(w, _rows.Transposed, Writes, KeyDim, ValueDim, n);
        Subnormals.Flush(w, KeyDim, ValueDim);
    }

    /// <summary>
    /// From the gradients of W and P at the chunk's end, and of the reads (null where they read elsewhere), to those at its
    /// start, and to keys, queries and u. Adds to the coefficients' gradients and to dε.
    /// </summary>
    public void Backward(in ChunkCoefficients x, float* erase, ScanRead read, int n, MatrixView w, MatrixView p, MatrixView dReads,
        in DeepMemoryLayerGradient g, in ChunkCoefficientGradients d, float* dErase)
    {
        bool strict = read == ScanRead.Before;
        int first = ChunkTriangles.ReadRow(read, 0);
        MatrixView y = g.Writes, dKeys = g.Keys, dQueries = g.Queries;

        // What the chunk leaves behind.
        Clear(dKeys, n, KeyDim);
        d.A[n] += Dot(g.W, w, KeyDim, ValueDim);
        LeftBehind(g, g.W, x.G.Row(n), d.G.Row(n), n);
        if (x.HasMomentum)
        {
            d.B[n] += Dot(g.W, p, KeyDim, ValueDim);
            d.C[n] += Dot(g.P, p, KeyDim, ValueDim);
            LeftBehind(g, g.P, x.X.Row(n), d.X.Row(n), n);
        }

        // dWrites = Kg dW + Kx dP + Mᵀ dReads, then back through the solve: Y = (I − N)⁻ᵀ dWrites.
        Clear(y, n, ValueDim);
        ScaleRows(Keys, x.G.Row(n), n, KeyDim, _rows);
        Add(y, _rows, g.W, n, ValueDim, KeyDim);
        if (x.HasMomentum)
        {
            ScaleRows(Keys, x.X.Row(n), n, KeyDim, _rows);
            Add(y, _rows, g.P, n, ValueDim, KeyDim);
        }

        if (!dReads.IsNull)
            AddUpper(y, _readMatrix.Transposed, dReads, n, ValueDim, strict);
        if (!_erasedW.IsNull)
            AddUpper(y, _eraseMatrix.Transposed, y, n, ValueDim, strict: true);
        Subnormals.Flush(y, n, ValueDim);

        // W and P move to the chunk's start as their readers are taken back.
        x.DecayBackward(n, g.W, g.P, KeyDim, ValueDim);
        Clear(dQueries, n, KeyDim);
        MatrixView transposed = Transpose(w, KeyDim, ValueDim, g.WeightsTransposed.Start);
        if (!dReads.IsNull)
            ReadsBackward(g, dReads, transposed, x.A + first, d.A + first, g.W, n);
        if (!_erasedW.IsNull)
            ErasesBackward(g, transposed, _erasedW, x.A, d.A, g.W, erase, dErase, n);
        if (x.HasMomentum)
        {
            transposed = Transpose(p, KeyDim, ValueDim, g.WeightsTransposed.Start);
            if (!dReads.IsNull)
                ReadsBackward(g, dReads, transposed, x.B + first, d.B + first, g.P, n);
            if (!_erasedP.IsNull)
                ErasesBackward(g, transposed, _erasedP, x.B, d.B, g.P, erase, dErase, n);
            Subnormals.Flush(g.P, KeyDim, ValueDim);
        }

        Subnormals.Flush(g.W, KeyDim, ValueDim);

        // What tokens of the chunk do to each other.
        MatrixView writesTransposed = Transpose(Writes, n, ValueDim, g.WritesTransposed.Start);
        if (!_erasedW.IsNull)
        {
            LowerTriangle(g.Products, y, writesTransposed, n, ValueDim);
            ChunkTriangles.EraseBackward(x, erase, _keyProducts, g.Products, n, g.DProducts, d.G, dErase);
            AddLower(dKeys, g.DProducts, Keys, n, KeyDim, strict: true);
            AddUpper(dKeys, g.DProducts.Transposed, Keys, n, KeyDim, strict: true);
        }

        if (!dReads.IsNull)
        {
            LowerTriangle(g.Products, dReads, writesTransposed, n, ValueDim);
            ChunkTriangles.ReadBackward(x, read, _queryProducts, g.Products, n, g.DProducts, d.G);
            AddLower(dQueries, g.DProducts, Keys, n, KeyDim, strict);
            AddUpper(dKeys, g.DProducts.Transposed, Queries, n, KeyDim, strict);
        }
    }

    private MatrixView KeysTransposed(int n) => new(_keysTransposed.Start, n);

    // erased = K M, and Writes −= diag(ε factors) erased.
    private void Erase(MatrixView erased, MatrixView m, float* factors, float* erase, int n)
    {
        Clear(erased, n, ValueDim);
        Add(erased, Keys, m, n, ValueDim, KeyDim);
        for (int t = 0; t < n; t++)
            AddScaled(erased.Row(t), -erase[t] * factors[t], ValueDim, Writes.Row(t));
    }

    // Of M_n += Σ_i g_i k_iᵀ w_i.
    private void LeftBehind(in DeepMemoryLayerGradient g, MatrixView dM, float* factors, float* dFactors, int n)
    {
        MatrixView transposed = Transpose(dM, KeyDim, ValueDim, g.WeightsTransposed.Start);
        Clear(_rows, n, KeyDim);
        Add(_rows, Writes, transposed, n, KeyDim, ValueDim);
        AddScaledRows(_rows, factors, n, KeyDim, g.Keys);
        for (int i = 0; i < n; i++)
            dFactors[i] += Dot(_rows.Row(i), Keys.Row(i), KeyDim);
    }

    // Of reads += diag(factors) Q M.
    private void ReadsBackward(in DeepMemoryLayerGradient g, MatrixView dReads, MatrixView transposed, float* factors, float* dFactors,
        MatrixView dM, int n)
    {
        Clear(_rows, n, KeyDim);
        Add(_rows, dReads, transposed, n, KeyDim, ValueDim);
        AddScaledRows(_rows, factors, n, KeyDim, g.Queries);
        for (int t = 0; t < n; t++)
            dFactors[t] += Dot(_rows.Row(t), Queries.Row(t), KeyDim);
        ScaleRows(Queries, factors, n, KeyDim, _rows);
        Add(dM, _rows.Transposed, dReads, KeyDim, ValueDim, n);
    }

    // Of Writes −= diag(ε factors) erased with erased = K M.
    private void ErasesBackward(in DeepMemoryLayerGradient g, MatrixView transposed, MatrixView erased, float* factors, float* dFactors,
        MatrixView dM, float* erase, float* dErase, int n)
    {
        for (int t = 0; t < n; t++)
        {
            float kappa = Dot(g.Writes.Row(t), erased.Row(t), ValueDim);
            dErase[t] -= factors[t] * kappa;
            dFactors[t] -= erase[t] * kappa;
            TensorPrimitives.Multiply(Span(g.Writes.Row(t), ValueDim), -erase[t] * factors[t], Span(g.Erased.Row(t), ValueDim));
        }

        Add(g.Keys, g.Erased, transposed, n, KeyDim, ValueDim);
        Add(dM, Keys.Transposed, g.Erased, KeyDim, ValueDim, n);
    }
}

/// <summary>The gradients of a layer, and the scratch matrices of its backward pass.</summary>
internal readonly unsafe struct DeepMemoryLayerGradient(ref ScratchArena arena, int chunk, int keyDim, int valueDim, MatrixView w,
    MatrixView p)
{
    /// <summary>dL/dW and dL/dP at the chunk's end, then at its start.</summary>
    public readonly MatrixView W = w, P = p;

    /// <summary>[n, Dk].</summary>
    public readonly MatrixView Keys = arena.Matrix(chunk, keyDim), Queries = arena.Matrix(chunk, keyDim);

    /// <summary>dL/du [n, Dv], and that of K W or K P.</summary>
    public readonly MatrixView Writes = arena.Matrix(chunk, valueDim), Erased = arena.Matrix(chunk, valueDim);

    public readonly MatrixView WeightsTransposed = arena.Matrix(valueDim, keyDim), WritesTransposed = arena.Matrix(valueDim, chunk);
    public readonly MatrixView Products = arena.Matrix(chunk, chunk), DProducts = arena.Matrix(chunk, chunk);
}
