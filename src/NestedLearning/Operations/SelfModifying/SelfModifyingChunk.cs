using System.Numerics.Tensors;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>
/// One chunk of one head of the self-modifying scan: what the forward pass computes and the backward pass computes again.
/// All of the writes' terms of every memory read the chunk-start state S_c with the token's own row, so one product makes
/// them all, over the columns [k | v | mem | η | α]:
/// <code>
/// w_t = η_t (v_t − g_t k_t) S_c + (N W)_t,   g_t = [ε/η] a_{t−1} + [frozen L2],   ε_t = η_t, or 2 η_t (exact L2)
/// </code>
/// A chunk that began before the sequence (S ≠ S_c) has −ε_t a_{t−1} k_t S as a product of its own.
/// See native/kernels/self_modifying/README.md.
/// </summary>
internal unsafe struct SelfModifyingChunk
{
    private readonly SelfModifyingSettings _settings;
    private readonly MatrixView _x, _q;

    /// <summary>D and 3D + 2. Rows of states and writes are padded to whole vectors with columns that stay 0.</summary>
    public readonly int Dim, Columns, PaddedColumns;

    public readonly ChunkCoefficients Coefficients;

    /// <summary>[n, 2D]: x S_k before its norm, and v.</summary>
    public readonly MatrixView Projections;

    public readonly MatrixView K;

    /// <summary>1 / √(Σx² + ε²) of k and, where values are normalised, of v.</summary>
    public readonly float* InverseNorm, InverseValueNorm;

    /// <summary>η, its pre-activation, α's pre-activation, ε, and g.</summary>
    public readonly float* Eta, EtaInput, AlphaInput, Erase, Gamma;

    /// <summary>f = v − g k and η f [n, D].</summary>
    public readonly MatrixView F, EtaF;

    /// <summary>a of the read times Q; diag(G_n) K; −ε a_{t−1} K where S ≠ S_c [n, D].</summary>
    public readonly MatrixView Qs, Kg, Ks;

    /// <summary>W [n, padded columns].</summary>
    public readonly MatrixView W;
    public readonly MatrixView KeyProducts, QueryProducts, EraseMatrix, ReadMatrix;
    private readonly MatrixView _keysTransposed, _gateMemories;

    public int Start, Length;

    /// <summary>Whether the chunk began before the sequence, so that S ≠ S_c.</summary>
    public bool BeganBefore;
    public MatrixView X, Q;

    public SelfModifyingChunk(ref ScratchArena arena, in SelfModifyingInputs inputs, SelfModifyingSettings settings, int batchHead)
    {
        int batch = batchHead / inputs.Heads, head = batchHead % inputs.Heads;
        _settings = settings;
        _x = HeadRows.Tokens(inputs.X, batch, head);
        _q = HeadRows.Tokens(inputs.Q, batch, head);
        Dim = inputs.Dim;
        Columns = SelfModifyingSettings.StateColumns(Dim);
        PaddedColumns = Padded(Columns);

        int n = Math.Min(settings.Chunk, inputs.Time);
        Coefficients = new ChunkCoefficients(ref arena, n, momentum: false);
        Projections = arena.Matrix(n, 2 * Dim);
        K = arena.Matrix(n, Dim);
        InverseNorm = arena.Vector(n);
        InverseValueNorm = arena.Vector(n);
        Eta = arena.Vector(n);
        EtaInput = arena.Vector(n);
        AlphaInput = arena.Vector(n);
        Erase = arena.Vector(n);
        Gamma = arena.Vector(n);
        F = arena.Matrix(n, Dim);
        EtaF = arena.Matrix(n, Dim);
        Qs = arena.Matrix(n, Dim);
        Kg = arena.Matrix(n, Dim);
        Ks = settings.Phase == 0 ? default : arena.Matrix(n, Dim);
        W = arena.Matrix(n, PaddedColumns);
        KeyProducts = arena.Matrix(n, n);
        QueryProducts = arena.Matrix(n, n);
        EraseMatrix = arena.Matrix(n, n);
        ReadMatrix = arena.Matrix(n, n);
        _keysTransposed = arena.Matrix(Dim, n);
        _gateMemories = arena.Matrix(2, Dim);
    }

    /// <summary>Whole vectors of 16, the widest in use.</summary>
    public static int Padded(int columns) => (columns + 15) / 16 * 16;

    /// <summary>Copies an unpadded state into padded rows whose further columns are 0.</summary>
    public static void LoadState(MatrixView source, int dim, MatrixView state)
    {
        int columns = SelfModifyingSettings.StateColumns(dim);
        CopyRows(source, dim, columns, state);
        Clear(state.FromColumn(columns), dim, Padded(columns) - columns);
    }

    /// <summary>
    /// Goes to a chunk and computes its keys, values, gates, coefficients and writes from the state before its first token
    /// and S_c.
    /// </summary>
    public void Load(int start, int length, MatrixView s, MatrixView frozen)
    {
        Start = start;
        Length = length;
        BeganBefore = frozen.Start != s.Start;
        X = _x.FromRow(start);
        Q = _q.FromRow(start);
        Project(frozen);
        Coefficients.Compute(length);

        for (int t = 0; t < length; t++)
        {
            Erase[t] = _settings.EraseFactor * Eta[t];
            Gamma[t] = (BeganBefore ? 0 : _settings.EraseFactor * Coefficients.A[t]) + (_settings.WritesFrozenError ? 1 : 0);
            Span<float> f = Span(F.Row(t), Dim);
            Span(Projections.Row(t) + Dim, Dim).CopyTo(f);
            AddScaled(K.Row(t), -Gamma[t], Dim, F.Row(t));
            TensorPrimitives.Multiply(f, Eta[t], Span(EtaF.Row(t), Dim));
            if (BeganBefore)
                TensorPrimitives.Multiply(Span(K.Row(t), Dim), -Erase[t] * Coefficients.A[t], Span(Ks.Row(t), Dim));
            TensorPrimitives.Multiply(Span(Q.Row(t), Dim), Coefficients.A[ChunkTriangles.ReadRow(_settings.Read, t)], Span(Qs.Row(t), Dim));
        }

        ScaleRows(K, Coefficients.G.Row(length), length, Dim, Kg);
        MatrixView keysTransposed = Transpose(K, length, Dim, _keysTransposed.Start);
        LowerTriangle(KeyProducts, K, keysTransposed, length, Dim);
        LowerTriangle(QueryProducts, Q, keysTransposed, length, Dim);
        ChunkTriangles.Erase(Coefficients, Erase, KeyProducts, length, EraseMatrix);
        ChunkTriangles.Read(Coefficients, _settings.Read, QueryProducts, length, ReadMatrix);

        Clear(W, length, PaddedColumns);
        Add(W, EtaF, frozen, length, PaddedColumns, Dim);
        if (BeganBefore)
            Add(W, Ks, s, length, PaddedColumns, Dim);
        AddLower(W, EraseMatrix, W, length, PaddedColumns, strict: true);
        Subnormals.Flush(W, length, PaddedColumns);
    }

    /// <summary>O = Qs S_mem + M W_mem, or Q S_mem,c.</summary>
    public readonly void Read(MatrixView s, MatrixView frozen, MatrixView o)
    {
        bool atStart = _settings.Read == ScanRead.ChunkStart;
        Clear(o, Length, Dim);
        Add(o, Qs, (atStart ? frozen : s).FromColumn(2 * Dim), Length, Dim, Dim);
        if (!atStart)
            AddLower(o, ReadMatrix, W.FromColumn(2 * Dim), Length, Dim, strict: _settings.Read == ScanRead.Before);
        Subnormals.Flush(o, Length, Dim);
    }

    /// <summary>S ← a_n S + Kgᵀ W.</summary>
    public readonly void Advance(MatrixView s)
    {
        Coefficients.Decay(Length, s, default, Dim, Columns);
        Add(s, Kg.Transposed, W, Dim, PaddedColumns, Length);
        Subnormals.Flush(s, Dim, PaddedColumns);
    }

    /// <summary>softplus'.</summary>
    public static float Sigmoid(float z) => 1 / (1 + MathF.Exp(-z));

    private readonly void Project(MatrixView s)
    {
        Clear(Projections, Length, 2 * Dim);
        Add(Projections, X, s, Length, 2 * Dim, Dim);
        float* etaMemory = _gateMemories.Row(0), alphaMemory = _gateMemories.Row(1);
        for (int i = 0; i < Dim; i++)
        {
            etaMemory[i] = s.Row(i)[3 * Dim];
            alphaMemory[i] = s.Row(i)[3 * Dim + 1];
        }

        for (int t = 0; t < Length; t++)
        {
            float* raw = Projections.Row(t), value = raw + Dim;
            InverseNorm[t] = InverseNormOf(raw);
            TensorPrimitives.Multiply(Span(raw, Dim), InverseNorm[t], Span(K.Row(t), Dim));
            if (_settings.NormalizeValues)
            {
                InverseValueNorm[t] = InverseNormOf(value);
                TensorPrimitives.Multiply(Span(value, Dim), InverseValueNorm[t], Span(value, Dim));
            }

            EtaInput[t] = Dot(X.Row(t), etaMemory, Dim) + _settings.EtaBias;
            AlphaInput[t] = Dot(X.Row(t), alphaMemory, Dim) + _settings.AlphaBias;
            Eta[t] = Subnormals.Flush(Softplus(EtaInput[t]) * _settings.EtaScale);
            Coefficients.Alpha[t] = Subnormals.Flush(Sigmoid(AlphaInput[t]));
        }
    }

    private readonly float InverseNormOf(float* row) =>
        1 / MathF.Sqrt(Dot(row, row, Dim) + SelfModifyingSettings.NormEpsilon * SelfModifyingSettings.NormEpsilon);

    // max(z, 0) + log(1 + e^−|z|), with log(1 + y) kept exact for y below the spacing of doubles around 1.
    private static float Softplus(float z)
    {
        double y = Math.Exp(-Math.Abs((double)z)), onePlus = 1 + y;
        double log = onePlus == 1 ? y : Math.Log(onePlus) * (y / (onePlus - 1));
        return (float)(Math.Max((double)z, 0) + log);
    }
}
