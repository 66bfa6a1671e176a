using System.Numerics.Tensors;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>One sequence's head in the tensors of a scan.</summary>
internal static unsafe class HeadRows
{
    /// <summary>Tokens as rows: head (b, h) of [B, T, H, D], or of gates [B, T, H] as one column.</summary>
    public static MatrixView Tokens(Tensor? tensor, int batch, int head)
    {
        if (tensor is null)
            return default;
        int time = tensor.Shape[1], heads = tensor.Shape[2], dim = tensor.Shape.Rank == 4 ? tensor.Shape[3] : 1;
        return new MatrixView(tensor.Pointer + ((nint)batch * time * heads + head) * dim, (nint)heads * dim);
    }

    /// <summary>A state: entry (b, h) of [B, H, Dk, Dv], or (b, h, chunk) of [B, H, chunks, Dk, Dv].</summary>
    public static MatrixView State(Tensor? tensor, int batchHead, int chunk = 0)
    {
        if (tensor is null)
            return default;
        int chunks = tensor.Shape.Rank == 5 ? tensor.Shape[2] : 1, columns = tensor.Shape[^1];
        nint size = (nint)tensor.Shape[^2] * columns;
        return new MatrixView(tensor.Pointer + ((nint)batchHead * chunks + chunk) * size, columns);
    }
}

/// <summary>
/// One chunk of one head, possibly of some of the columns of S alone: what the forward pass computes and the backward
/// pass computes again. See native/kernels/scan/README.md for the derivation.
/// </summary>
internal unsafe struct ScanChunk
{
    private readonly ScanSettings _settings;
    private readonly MatrixView _q, _k, _u, _logAlpha, _erase, _mu, _theta;

    public readonly int KeyDim, ValueDim;
    public readonly bool Erases, HasMomentum, ScalesWrites, IsFrozen;

    /// <summary>Gates of the chunk's tokens; ε and θ are 0 and 1 where not given.</summary>
    public readonly float* Erase, Theta;

    public readonly ChunkCoefficients Coefficients;

    /// <summary>W [n, Dv]: what is really written.</summary>
    public readonly MatrixView W;

    /// <summary>
    /// Ks [n, Dk]: row factors −(ε a_{t−1} + θ for frozen L2) of K, so that W takes + Ks S. Kp the same for P. Where S ≠ S_c,
    /// Kc = −diag(θ) K stands apart, for Kc S_c.
    /// </summary>
    public readonly MatrixView Ks, Kp, Kc;

    /// <summary>Qs [n, Dk]: scale · a of the read times Q, so that O takes + Qs S. Qp the same for P.</summary>
    public readonly MatrixView Qs, Qp;

    /// <summary>[n, n] lower triangles: K Kᵀ, Q Kᵀ, the erase matrix N and the read matrix M.</summary>
    public readonly MatrixView KeyProducts, QueryProducts, EraseMatrix, ReadMatrix;

    /// <summary>diag(G_n) K and diag(X_n) K [n, Dk]: what the chunk's writes leave in S and P.</summary>
    public readonly MatrixView Kg, Kx;

    private readonly MatrixView _keysTransposed;

    /// <summary>The chunk's tokens.</summary>
    public int Start, Length;

    /// <summary>Whether the chunk began before the sequence, so that S ≠ S_c.</summary>
    public bool BeganBefore;
    public MatrixView Q, K, U;

    public ScanChunk(ref ScratchArena arena, in ScanInputs inputs, ScanSettings settings, int batchHead, int firstColumn, int columns)
    {
        int batch = batchHead / inputs.Heads, head = batchHead % inputs.Heads;
        _settings = settings;
        _q = HeadRows.Tokens(inputs.Q, batch, head);
        _k = HeadRows.Tokens(inputs.K, batch, head);
        _u = HeadRows.Tokens(inputs.U, batch, head).FromColumn(firstColumn);
        _logAlpha = HeadRows.Tokens(inputs.LogAlpha, batch, head);
        _erase = HeadRows.Tokens(inputs.Erase, batch, head);
        _mu = HeadRows.Tokens(inputs.Mu, batch, head);
        _theta = HeadRows.Tokens(inputs.Theta, batch, head);
        KeyDim = inputs.KeyDim;
        ValueDim = columns;
        Erases = inputs.Erase is not null;
        HasMomentum = inputs.Mu is not null;
        ScalesWrites = settings.Write != ScanWrite.Given;
        IsFrozen = settings.Write == ScanWrite.FrozenL2;

        int n = Math.Min(settings.Chunk, inputs.Time);
        Coefficients = new ChunkCoefficients(ref arena, n, HasMomentum);
        Erase = arena.Vector(n);
        Theta = arena.Vector(n);
        W = arena.Matrix(n, columns);
        Ks = arena.Matrix(n, KeyDim);
        Kp = arena.Matrix(n, KeyDim);
        Kc = settings.Phase == 0 ? default : arena.Matrix(n, KeyDim);
        Qs = arena.Matrix(n, KeyDim);
        Qp = arena.Matrix(n, KeyDim);
        Kg = arena.Matrix(n, KeyDim);
        Kx = arena.Matrix(n, KeyDim);
        KeyProducts = arena.Matrix(n, n);
        QueryProducts = arena.Matrix(n, n);
        EraseMatrix = arena.Matrix(n, n);
        ReadMatrix = arena.Matrix(n, n);
        _keysTransposed = arena.Matrix(KeyDim, n);
    }

    /// <summary>Goes to a chunk: its gates, coefficients and everything that does not depend on the state.</summary>
    public void Load(int start, int length, bool beganBefore)
    {
        Start = start;
        Length = length;
        BeganBefore = beganBefore;
        Q = _q.FromRow(start);
        K = _k.FromRow(start);
        U = _u.FromRow(start);
        ref readonly ChunkCoefficients x = ref Coefficients;
        for (int t = 0; t < length; t++)
        {
            x.Alpha[t] = _logAlpha.IsNull ? 1 : MathF.Exp(*_logAlpha.Row(start + t));
            Erase[t] = Erases ? *_erase.Row(start + t) : 0;
            Theta[t] = ScalesWrites ? *_theta.Row(start + t) : 1;
            if (HasMomentum)
                x.Mu[t] = *_mu.Row(start + t);
        }

        x.Compute(length);
        ScaleRows(K, x.G.Row(length), length, KeyDim, Kg);
        if (HasMomentum)
            ScaleRows(K, x.X.Row(length), length, KeyDim, Kx);

        MatrixView keysTransposed = Transpose(K, length, KeyDim, _keysTransposed.Start);
        if (Erases)
        {
            LowerTriangle(KeyProducts, K, keysTransposed, length, KeyDim);
            ChunkTriangles.Erase(x, Erase, KeyProducts, length, EraseMatrix);
        }

        LowerTriangle(QueryProducts, Q, keysTransposed, length, KeyDim);
        ChunkTriangles.Read(x, _settings.Read, _settings.Scale, QueryProducts, length, ReadMatrix);
        for (int t = 0; t < length; t++)
        {
            int row = ChunkTriangles.ReadRow(_settings.Read, t);
            TensorPrimitives.Multiply(Span(Q.Row(t), KeyDim), _settings.Scale * x.A[row], Span(Qs.Row(t), KeyDim));
            if (HasMomentum)
                TensorPrimitives.Multiply(Span(Q.Row(t), KeyDim), _settings.Scale * x.B[row], Span(Qp.Row(t), KeyDim));
            TensorPrimitives.Multiply(Span(K.Row(t), KeyDim), -StateFactor(t), Span(Ks.Row(t), KeyDim));
            if (IsFrozen && BeganBefore)
                TensorPrimitives.Multiply(Span(K.Row(t), KeyDim), -Theta[t], Span(Kc.Row(t), KeyDim));
            if (HasMomentum)
                TensorPrimitives.Multiply(Span(K.Row(t), KeyDim), -Erase[t] * x.B[t], Span(Kp.Row(t), KeyDim));
        }
    }

    /// <summary>Whether writes read S, and not S_c alone.</summary>
    public readonly bool WritesReadState => Erases || (IsFrozen && !BeganBefore);

    /// <summary>ε_t a_{t−1}, and θ_t more when the write is θ (U − k S): how much of k_t S goes out of w_t.</summary>
    public readonly float StateFactor(int t) => Erase[t] * Coefficients.A[t] + (IsFrozen && !BeganBefore ? Theta[t] : 0);

    /// <summary>W = diag(θ) U + Ks S + Kc S_c + Kp P + N W, from the states before the chunk's first token.</summary>
    public readonly void ComputeWrites(MatrixView s, MatrixView p, MatrixView frozen)
    {
        ScaleRows(U, Theta, Length, ValueDim, W);
        if (WritesReadState)
            Add(W, Ks, s, Length, ValueDim, KeyDim);
        if (IsFrozen && BeganBefore)
            Add(W, Kc, frozen, Length, ValueDim, KeyDim);
        if (Erases)
        {
            if (HasMomentum)
                Add(W, Kp, p, Length, ValueDim, KeyDim);
            AddLower(W, EraseMatrix, W, Length, ValueDim, strict: true);
        }

        Subnormals.Flush(W, Length, ValueDim);
    }

    /// <summary>O = Qs S + Qp P + M W, or scale · Q S_c.</summary>
    public readonly void Read(MatrixView s, MatrixView p, MatrixView frozen, MatrixView o)
    {
        Clear(o, Length, ValueDim);
        if (_settings.Read == ScanRead.ChunkStart)
        {
            Add(o, Qs, frozen, Length, ValueDim, KeyDim);
        }
        else
        {
            Add(o, Qs, s, Length, ValueDim, KeyDim);
            if (HasMomentum)
                Add(o, Qp, p, Length, ValueDim, KeyDim);
            AddLower(o, ReadMatrix, W, Length, ValueDim, strict: _settings.Read == ScanRead.Before);
        }

        Subnormals.Flush(o, Length, ValueDim);
    }

    /// <summary>S ← a_n S + b_n P + Kgᵀ W and P ← c_n P + Kxᵀ W.</summary>
    public readonly void Advance(MatrixView s, MatrixView p)
    {
        Coefficients.Decay(Length, s, p, KeyDim, ValueDim);
        if (HasMomentum)
        {
            Add(p, Kx.Transposed, W, KeyDim, ValueDim, Length);
            Subnormals.Flush(p, KeyDim, ValueDim);
        }

        Add(s, Kg.Transposed, W, KeyDim, ValueDim, Length);
        Subnormals.Flush(s, KeyDim, ValueDim);
    }
}
