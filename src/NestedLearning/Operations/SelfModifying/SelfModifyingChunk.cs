using System.Numerics;
using System.Numerics.Tensors;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>
/// What the memories at a chunk's start S_c make of its tokens, and the gradient of that (docs/specification.md, section 6), float or
/// double. The memories are then the scan of section 1 with keys k, writes u, decays α and erases ε:
/// <code>
/// k = norm(x S_k,c)   v = x S_v,c or norm(x S_v,c)   η = softplus(x S_η,c + b_η) s_η   log α = −softplus(−x S_α,c − b_α)
/// u = η f S_c         f = v − k, or v where the gradient is exact or that of the dot product       ε = η, or 2 η (exact L2)
/// </code>
/// </summary>
internal unsafe struct SelfModifyingChunk<T>
    where T : unmanaged, IFloatingPointIeee754<T>
{
    private readonly SelfModifyingSettings _settings;
    private readonly int _dim, _columns;
    private readonly Rows<T> _x;

    // For each token [k before its norm | v | the arguments of softplus in η | of sigmoid in α], and its gradient.
    private readonly Rows<T> _made, _dMade;

    // f, η f and df [n, D]; S_cᵀ.
    private readonly Rows<T> _f, _etaF, _df;
    private readonly T* _transposed;

    // η, ‖x S_k,c‖ and ‖x S_v,c‖.
    private readonly T* _eta, _keyNorm, _valueNorm;
    private Rows<T> _frozen;

    public SelfModifyingChunk(ref ScratchArena<T> arena, in SelfModifyingHead<T> head, bool backward)
    {
        _settings = head.Settings;
        _x = head.X;
        _dim = head.Dim;
        _columns = head.Columns;
        int n = Length = head.Plan.Longest;
        K = arena.Matrix(n, _dim);
        U = arena.Matrix(n, _columns);
        LogAlpha = arena.Matrix(n, 1);
        Erase = arena.Matrix(n, 1);
        _made = arena.Matrix(n, 2 * _dim + 2);
        _f = arena.Matrix(n, _dim);
        _etaF = arena.Matrix(n, _dim);
        _eta = arena.Vector(n);
        _keyNorm = arena.Vector(n);
        _valueNorm = arena.Vector(n);
        if (!backward)
            return;
        _dMade = arena.Matrix(n, 2 * _dim + 2);
        _df = arena.Matrix(n, _dim);
        _transposed = arena.Vector(_columns * _dim);
    }

    public int Start { get; private set; }

    /// <summary>The tokens of the chunk; at first the most that one has.</summary>
    public int Length { get; private set; }

    public Rows<T> K { get; }

    public Rows<T> U { get; }

    public Rows<T> LogAlpha { get; }

    public Rows<T> Erase { get; }

    private readonly Rows<T> X => _x.From(Start);

    /// <summary>Goes to a chunk. S_c stays where it is until the chunk is done with.</summary>
    public void Load(int start, int length, Rows<T> frozen)
    {
        (Start, Length, _frozen) = (start, length, frozen);
        Clear(_made, length, 2 * _dim + 2);
        Add(_made, X, frozen, length, 2 * _dim, _dim);
        Add(_made.From(0, 2 * _dim), X, frozen.From(0, 3 * _dim), length, 2, _dim);
        for (int t = 0; t < length; t++)
            Token(t);
        Clear(U, length, _columns);
        Add(U, _etaF, frozen, length, _columns, _dim);
    }

    private readonly void Token(int t)
    {
        T* key = _made[t], v = key + _dim, gates = v + _dim, f = _f[t];
        T epsilon = T.CreateChecked(SelfModifyingSettings.NormEpsilon);
        _keyNorm[t] = UnitRows.Forward(key, epsilon, _dim, K[t]);
        if (_settings.NormalizeValues)
            _valueNorm[t] = UnitRows.Forward(v, epsilon, _dim, v);
        gates[0] += T.CreateChecked(_settings.EtaBias);
        gates[1] += T.CreateChecked(_settings.AlphaBias);
        _eta[t] = Softplus(gates[0]) * T.CreateChecked(_settings.EtaScale);
        Columns<T>.Flush(_eta + t, 1);
        *LogAlpha[t] = -Softplus(-gates[1]);
        *Erase[t] = T.CreateChecked(_settings.EraseFactor) * _eta[t];
        Span(v, _dim).CopyTo(Span(f, _dim));
        if (_settings.WritesFrozenError)
            AddScaled(K[t], -T.One, _dim, f);
        TensorPrimitives.Multiply<T>(Span(f, _dim), _eta[t], Span(_etaF[t], _dim));
    }

    /// <summary>
    /// From the gradients of k, which it uses up, log α, ε and u to dx, written, and dS_c, added to.
    /// </summary>
    public readonly void Backward(Rows<T> dk, Rows<T> dLogAlpha, Rows<T> dErase, Rows<T> dU, Rows<T> dx, Rows<T> dStart)
    {
        int n = Length, gates = 2 * _dim;
        Rows<T> transposed = Transpose(_frozen, _dim, _columns, _transposed);
        Clear(_df, n, _dim);
        Add(_df, dU, transposed, n, _dim, _columns);
        for (int t = 0; t < n; t++)
            TokenBackward(t, dk[t], *dLogAlpha[t], *dErase[t]);
        Clear(dx, n, _dim);
        Add(dx, _dMade, transposed, n, _dim, 2 * _dim);
        Add(dx, _dMade.From(0, gates), transposed.From(3 * _dim), n, _dim, 2);
        Add(dStart, _etaF.Transposed, dU, _dim, _columns, n);
        Add(dStart, X.Transposed, _dMade, _dim, 2 * _dim, n);
        Add(dStart.From(0, 3 * _dim), X.Transposed, _dMade.From(0, gates), _dim, 2, n);
    }

    private readonly void TokenBackward(int t, T* dk, T dLogAlpha, T dErase)
    {
        T* v = _made[t] + _dim, gates = v + _dim, dKey = _dMade[t], dv = dKey + _dim, dGates = dv + _dim, df = _df[t];
        T dEta = Dot(df, _f[t], _dim) + T.CreateChecked(_settings.EraseFactor) * dErase;
        TensorPrimitives.Multiply<T>(Span(df, _dim), _eta[t], Span(dv, _dim));
        if (_settings.WritesFrozenError)
            AddScaled(dv, -T.One, _dim, dk);
        UnitRows.Backward(K[t], _keyNorm[t], T.Zero, dk, _dim, dKey);
        if (_settings.NormalizeValues)
            UnitRows.Backward(v, _valueNorm[t], T.Zero, dv, _dim, dv);
        dGates[0] = dEta * T.CreateChecked(_settings.EtaScale) * Sigmoid(gates[0]);
        dGates[1] = dLogAlpha * Sigmoid(-gates[1]);
    }

    private static T Sigmoid(T z) => T.One / (T.One + T.Exp(-z));

    // max(z, 0) + log(1 + e^−|z|), with log(1 + y) exact for y below the spacing of numbers around 1.
    private static T Softplus(T z)
    {
        T y = T.Exp(-T.Abs(z)), onePlus = T.One + y;
        T log = onePlus == T.One ? y : T.Log(onePlus) * (y / (onePlus - T.One));
        return T.Max(z, T.Zero) + log;
    }
}
