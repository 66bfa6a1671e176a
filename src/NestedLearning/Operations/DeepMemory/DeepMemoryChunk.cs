using System.Numerics.Tensors;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>
/// One chunk of one head of a deep memory: what the forward pass computes and the backward pass computes again. See
/// native/kernels/deep_memory/README.md for the derivation; its names are used here.
/// </summary>
internal unsafe struct DeepMemoryChunk
{
    private readonly DeepMemorySettings _settings;
    private readonly MatrixView _q, _k, _v, _logAlpha, _theta, _erase, _mu;
    private readonly MatrixView _transposed;

    public readonly int Dim, Hidden;
    public readonly bool HasMomentum;
    public readonly ChunkCoefficients Coefficients;

    /// <summary>Keys ĥ, writes on W1 [N, D]; and keys k̂, writes on W2 [D, N].</summary>
    public readonly DeepMemoryLayer Layer1, Layer2;

    /// <summary>ε and θ of each token, and √(‖h‖² + ε²), √(‖k‖² + ε²).</summary>
    public readonly float* Erase, Theta, Norm1, Norm2;

    /// <summary>z = k W2_c, h = φ(z), φ'(z), e W1_cᵀ and that times φ'(z) [n, N].</summary>
    public readonly MatrixView Z, H, Slope, Back, Step;

    /// <summary>e [n, D].</summary>
    public readonly MatrixView Error;

    /// <summary>What the second layer reads, before its activation, [n, N].</summary>
    public readonly MatrixView ReadInput;

    public int Start, Length;
    public MatrixView Q, K, V;

    public DeepMemoryChunk(ref ScratchArena arena, in DeepMemoryInputs inputs, DeepMemorySettings settings, int batchHead)
    {
        int batch = batchHead / inputs.Heads, head = batchHead % inputs.Heads;
        _settings = settings;
        _q = HeadRows.Tokens(inputs.Q, batch, head);
        _k = HeadRows.Tokens(inputs.K, batch, head);
        _v = HeadRows.Tokens(inputs.V, batch, head);
        _logAlpha = HeadRows.Tokens(inputs.LogAlpha, batch, head);
        _theta = HeadRows.Tokens(inputs.Theta, batch, head);
        _erase = HeadRows.Tokens(inputs.Erase, batch, head);
        _mu = HeadRows.Tokens(inputs.Mu, batch, head);
        Dim = inputs.Dim;
        Hidden = inputs.Hidden;
        HasMomentum = inputs.Mu is not null;

        int n = settings.Plan(inputs.Time).Longest;
        Coefficients = new ChunkCoefficients(ref arena, n, HasMomentum);
        Layer1 = new DeepMemoryLayer(ref arena, n, Hidden, Dim, inputs.Erase is not null, HasMomentum);
        Layer2 = new DeepMemoryLayer(ref arena, n, Dim, Hidden, inputs.Erase is not null, HasMomentum);
        Erase = arena.Vector(n);
        Theta = arena.Vector(n);
        Norm1 = arena.Vector(n);
        Norm2 = arena.Vector(n);
        Z = arena.Matrix(n, Hidden);
        H = arena.Matrix(n, Hidden);
        Slope = arena.Matrix(n, Hidden);
        Back = arena.Matrix(n, Hidden);
        Step = arena.Matrix(n, Hidden);
        Error = arena.Matrix(n, Dim);
        ReadInput = arena.Matrix(n, Hidden);
        _transposed = arena.Matrix(Dim, Hidden);
    }

    /// <summary>Whether reads follow the writes, or see the chunk's start alone.</summary>
    public readonly bool ReadsWrites => _settings.Read != ScanRead.ChunkStart;

    public readonly bool IsL2 => _settings.Objective == MemoryObjective.L2;

    /// <summary>
    /// Goes to a chunk and computes its writes, from the weights at the chunk's start and those before its first token here.
    /// </summary>
    public void Load(int start, int length, in DeepMemoryWeights frozen, in DeepMemoryWeights state)
    {
        Start = start;
        Length = length;
        Q = _q.FromRow(start);
        K = _k.FromRow(start);
        V = _v.FromRow(start);
        for (int t = 0; t < length; t++)
        {
            Coefficients.Alpha[t] = _logAlpha.IsNull ? 1 : MathF.Exp(*_logAlpha.Row(start + t));
            Theta[t] = _theta.IsNull ? 1 : *_theta.Row(start + t);
            Erase[t] = _erase.IsNull ? 0 : *_erase.Row(start + t);
            if (HasMomentum)
                Coefficients.Mu[t] = *_mu.Row(start + t);
        }

        Coefficients.Compute(length);
        Gradients(frozen);
        Layer1.Write(Coefficients, Erase, length, state.W1, state.P1);
        Layer2.Write(Coefficients, Erase, length, state.W2, state.P2);
        CopyRows(Q, length, Dim, Layer2.Queries);
        if (!ReadsWrites)
        {
            Clear(ReadInput, length, Hidden);
            Add(ReadInput, Q, frozen.W2, length, Hidden, Dim);
        }
        else
        {
            Layer2.PrepareRead(Coefficients, _settings.Read, length);
            Layer2.Read(Coefficients, _settings.Read, length, state.W2, state.P2, ReadInput);
        }

        Map<GeluFunction>(ReadInput, Layer1.Queries);
        if (ReadsWrites)
            Layer1.PrepareRead(Coefficients, _settings.Read, length);
    }

    /// <summary>o = q + φ(q W2) W1.</summary>
    public readonly void Read(in DeepMemoryWeights frozen, in DeepMemoryWeights state, MatrixView o)
    {
        if (ReadsWrites)
        {
            Layer1.Read(Coefficients, _settings.Read, Length, state.W1, state.P1, o);
        }
        else
        {
            Clear(o, Length, Dim);
            Add(o, Layer1.Queries, frozen.W1, Length, Dim, Hidden);
        }

        if (_settings.Residual)
        {
            for (int t = 0; t < Length; t++)
                AddScaled(Q.Row(t), 1, Dim, o.Row(t));
        }

        Subnormals.Flush(o, Length, Dim);
    }

    /// <summary>The state after the chunk's tokens.</summary>
    public readonly void Advance(in DeepMemoryWeights state)
    {
        Layer1.Advance(Coefficients, Length, state.W1, state.P1);
        Layer2.Advance(Coefficients, Length, state.W2, state.P2);
    }

    /// <summary>y = f(x) over [n, N].</summary>
    public readonly void Map<TFunction>(MatrixView x, MatrixView y)
        where TFunction : struct, IVectorFunction
    {
        for (int t = 0; t < Length; t++)
            VectorMath.Map<TFunction>(Span(x.Row(t), Hidden), Span(y.Row(t), Hidden));
    }

    // The gradient at the frozen weights, as unit keys and u.
    private readonly void Gradients(in DeepMemoryWeights frozen)
    {
        int n = Length;
        Clear(Z, n, Hidden);
        Add(Z, K, frozen.W2, n, Hidden, Dim);
        Map<GeluFunction>(Z, H);
        Map<GeluSlopeFunction>(Z, Slope);
        Clear(Error, n, Dim);
        if (IsL2)
            Add(Error, H, frozen.W1, n, Dim, Hidden);
        for (int t = 0; t < n; t++)
        {
            AddScaled(V.Row(t), -1, Dim, Error.Row(t));
            if (IsL2 && _settings.Residual)
                AddScaled(K.Row(t), 1, Dim, Error.Row(t));
        }

        Clear(Back, n, Hidden);
        Add(Back, Error, Transpose(frozen.W1, Hidden, Dim, _transposed.Start), n, Hidden, Dim);
        for (int t = 0; t < n; t++)
        {
            Norm1[t] = UnitKey(H.Row(t), Layer1.Keys.Row(t), Hidden);
            Norm2[t] = UnitKey(K.Row(t), Layer2.Keys.Row(t), Dim);
            TensorPrimitives.Multiply(Span(Back.Row(t), Hidden), Span(Slope.Row(t), Hidden), Span(Step.Row(t), Hidden));
            TensorPrimitives.Multiply(Span(Error.Row(t), Dim), -Theta[t] * Norm1[t], Span(Layer1.Writes.Row(t), Dim));
            TensorPrimitives.Multiply(Span(Step.Row(t), Hidden), -Theta[t] * Norm2[t], Span(Layer2.Writes.Row(t), Hidden));
        }
    }

    private static float UnitKey(float* x, float* key, int length)
    {
        float norm = MathF.Sqrt(Dot(x, x, length) + DeepMemorySettings.NormEpsilon * DeepMemorySettings.NormEpsilon);
        TensorPrimitives.Multiply(Span(x, length), 1 / norm, Span(key, length));
        return norm;
    }
}

/// <summary>The weights of a head at one time, and their momenta where there are any.</summary>
internal readonly struct DeepMemoryWeights(MatrixView w1, MatrixView w2, MatrixView p1 = default, MatrixView p2 = default)
{
    public readonly MatrixView W1 = w1, W2 = w2, P1 = p1, P2 = p2;

    public DeepMemoryWeights(ref ScratchArena arena, int dim, int hidden, bool momentum)
        : this(
            arena.Matrix(hidden, dim),
            arena.Matrix(dim, hidden),
            momentum ? arena.Matrix(hidden, dim) : default,
            momentum ? arena.Matrix(dim, hidden) : default)
    {
    }

    /// <summary>Those of a head in tensors [B, H, ..] or, saved, [B, H, chunks, ..].</summary>
    public static DeepMemoryWeights Of(int batchHead, Tensor? w1, Tensor? w2, Tensor? p1 = null, Tensor? p2 = null, int chunk = 0) =>
        new(HeadRows.State(w1, batchHead, chunk), HeadRows.State(w2, batchHead, chunk), HeadRows.State(p1, batchHead, chunk),
            HeadRows.State(p2, batchHead, chunk));

    /// <summary>Copies all there is; what a source lacks is zero.</summary>
    public void CopyTo(DeepMemoryWeights result, int dim, int hidden)
    {
        Copy(W1, hidden, dim, result.W1);
        Copy(W2, dim, hidden, result.W2);
        Copy(P1, hidden, dim, result.P1);
        Copy(P2, dim, hidden, result.P2);
    }

    /// <summary>Makes zeros of subnormal numbers.</summary>
    public void Flush(int dim, int hidden)
    {
        Subnormals.Flush(W1, hidden, dim);
        Subnormals.Flush(W2, dim, hidden);
        if (P1.IsNull)
            return;
        Subnormals.Flush(P1, hidden, dim);
        Subnormals.Flush(P2, dim, hidden);
    }

    private static void Copy(MatrixView source, int rows, int columns, MatrixView result)
    {
        if (result.IsNull)
            return;
        if (source.IsNull)
            Clear(result, rows, columns);
        else
            CopyRows(source, rows, columns, result);
    }
}
