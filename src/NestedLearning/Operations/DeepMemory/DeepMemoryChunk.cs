using System.Numerics;
using System.Numerics.Tensors;
using static NestedLearning.Operations.SmallProducts;

namespace NestedLearning.Operations;

/// <summary>
/// What a chunk's tokens write on the two layers by the weights W_c at its start, and the gradient of that
/// (docs/specification.md, section 2), float or double. Each layer is then the scan of section 1 with a key of unit length and a write u:
/// <code>
/// z = k W2_c   h = φ(z)   e = k + h W1_c − v, or −v   b = e W1_cᵀ   s = b ∘ φ'(z)
/// layer 1: key ĥ = h / r₁, u₁ = −θ r₁ e      layer 2: key k̂ = k / r₂, u₂ = −θ r₂ s      r = √(‖·‖² + 10⁻¹²)
/// </code>
/// </summary>
internal unsafe struct DeepMemoryChunk<T, TActivation>
    where T : unmanaged, IFloatingPointIeee754<T>
    where TActivation : struct, IDeepMemoryActivation<T>
{
    private readonly DeepMemoryHead<T> _head;
    private readonly int _dim, _hidden;

    // z, h, φ'(z), b and s [n, N]; e [n, D]; r₁ and r₂.
    private readonly Rows<T> _z, _h, _slope, _back, _step, _error;
    private readonly T* _norm1, _norm2;

    // db, dz and φ''(z) [n, N], de [n, D]; W_cᵀ.
    private readonly Rows<T> _dBack, _dZ, _curvature, _dError;
    private readonly T* _transposed1, _transposed2;
    private DeepMemoryWeights<T> _frozen;

    public DeepMemoryChunk(ref ScratchArena<T> arena, in DeepMemoryHead<T> head, bool backward)
    {
        _head = head;
        (_dim, _hidden) = (head.Dim, head.Hidden);
        int n = Length = head.Plan.Longest;
        Key1 = arena.Matrix(n, _hidden);
        Key2 = arena.Matrix(n, _dim);
        U1 = arena.Matrix(n, _dim);
        U2 = arena.Matrix(n, _hidden);
        _z = arena.Matrix(n, _hidden);
        _h = arena.Matrix(n, _hidden);
        _slope = arena.Matrix(n, _hidden);
        _back = arena.Matrix(n, _hidden);
        _step = arena.Matrix(n, _hidden);
        _error = arena.Matrix(n, _dim);
        _norm1 = arena.Vector(n);
        _norm2 = arena.Vector(n);
        _transposed1 = arena.Vector(_hidden * _dim);
        if (!backward)
            return;
        _transposed2 = arena.Vector(_hidden * _dim);
        _dBack = arena.Matrix(n, _hidden);
        _dZ = arena.Matrix(n, _hidden);
        _curvature = arena.Matrix(n, _hidden);
        _dError = arena.Matrix(n, _dim);
    }

    public int Start { get; private set; }

    /// <summary>The tokens of the chunk; at first the most that one has.</summary>
    public int Length { get; private set; }

    /// <summary>ĥ [n, N] and k̂ [n, D].</summary>
    public Rows<T> Key1 { get; }

    public Rows<T> Key2 { get; }

    /// <summary>u₁ [n, D] and u₂ [n, N].</summary>
    public Rows<T> U1 { get; }

    public Rows<T> U2 { get; }

    private readonly Rows<T> K => _head.K.From(Start);

    private readonly bool IsL2 => _head.Settings.Objective == MemoryObjective.L2;

    private readonly T Theta(int t) => _head.Theta.IsNull ? T.One : *_head.Theta[Start + t];

    /// <summary>Goes to a chunk. W_c stays where it is until the chunk is done with.</summary>
    public void Load(int start, int length, in DeepMemoryWeights<T> frozen)
    {
        (Start, Length, _frozen) = (start, length, frozen);
        Clear(_z, length, _hidden);
        Add(_z, K, frozen.W2, length, _hidden, _dim);
        TActivation.Value(_z.Start, length * _hidden, _h.Start);
        TActivation.Slope(_z.Start, length * _hidden, _slope.Start);
        Clear(_error, length, _dim);
        if (IsL2)
            Add(_error, _h, frozen.W1, length, _dim, _hidden);
        for (int t = 0; t < length; t++)
        {
            AddScaled(_head.V[start + t], -T.One, _dim, _error[t]);
            if (IsL2 && _head.Settings.Residual)
                AddScaled(K[t], T.One, _dim, _error[t]);
        }

        Clear(_back, length, _hidden);
        Add(_back, _error, Transpose(frozen.W1, _hidden, _dim, _transposed1), length, _hidden, _dim);
        T epsilon = T.CreateChecked(DeepMemorySettings.NormEpsilon);
        for (int t = 0; t < length; t++)
        {
            _norm1[t] = UnitRows.Forward(_h[t], epsilon, _hidden, Key1[t]);
            _norm2[t] = UnitRows.Forward(K[t], epsilon, _dim, Key2[t]);
            TensorPrimitives.Multiply<T>(Span(_back[t], _hidden), Span(_slope[t], _hidden), Span(_step[t], _hidden));
            TensorPrimitives.Multiply<T>(Span(_error[t], _dim), -Theta(t) * _norm1[t], Span(U1[t], _dim));
            TensorPrimitives.Multiply<T>(Span(_step[t], _hidden), -Theta(t) * _norm2[t], Span(U2[t], _hidden));
        }
    }

    /// <summary>
    /// From the gradients of keys and writes, which it uses up, to dk, dv and dθ, written, and dW_c, added to. dh is the place of dĥ.
    /// </summary>
    public readonly void Backward(Rows<T> dKey1, Rows<T> dKey2, Rows<T> dU1, Rows<T> dU2, Rows<T> dk, Rows<T> dv, Rows<T> dTheta,
        in DeepMemoryWeights<T> dStart)
    {
        int n = Length;
        Rows<T> dH = dKey1;
        TActivation.Curvature(_z.Start, n * _hidden, _curvature.Start);
        for (int t = 0; t < n; t++)
        {
            T along1 = Dot(dU1[t], _error[t], _dim), along2 = Dot(dU2[t], _step[t], _hidden), theta = Theta(t);
            *dTheta[t] = -(_norm1[t] * along1 + _norm2[t] * along2);
            UnitRows.Backward(Key1[t], _norm1[t], -theta * along1, dKey1[t], _hidden, dH[t]);
            UnitRows.Backward(Key2[t], _norm2[t], -theta * along2, dKey2[t], _dim, dk[t]);

            // u₁ = −θ r₁ e and u₂ = −θ r₂ b ∘ φ'(z).
            TensorPrimitives.Multiply<T>(Span(dU1[t], _dim), -theta * _norm1[t], Span(_dError[t], _dim));
            Span<T> dStep = Span(dU2[t], _hidden), dZ = Span(_dZ[t], _hidden);
            TensorPrimitives.Multiply<T>(dStep, -theta * _norm2[t], dStep);
            TensorPrimitives.Multiply<T>(dStep, Span(_slope[t], _hidden), Span(_dBack[t], _hidden));
            TensorPrimitives.Multiply<T>(dStep, Span(_back[t], _hidden), dZ);
            TensorPrimitives.Multiply<T>(dZ, Span(_curvature[t], _hidden), dZ);
        }

        // b = e W1_cᵀ.
        Add(_dError, _dBack, _frozen.W1, n, _dim, _hidden);
        Add(dStart.W1, _dBack.Transposed, _error, _hidden, _dim, n);

        // e = k + h W1_c − v, or −v.
        for (int t = 0; t < n; t++)
        {
            TensorPrimitives.Negate<T>(Span(_dError[t], _dim), Span(dv[t], _dim));
            if (IsL2 && _head.Settings.Residual)
                AddScaled(_dError[t], T.One, _dim, dk[t]);
        }

        if (IsL2)
        {
            Add(dH, _dError, new(_transposed1, _hidden), n, _hidden, _dim);
            Add(dStart.W1, _h.Transposed, _dError, _hidden, _dim, n);
        }

        // h = φ(z), z = k W2_c.
        for (int t = 0; t < n; t++)
        {
            Span<T> dZ = Span(_dZ[t], _hidden);
            TensorPrimitives.MultiplyAdd<T>(Span(dH[t], _hidden), Span(_slope[t], _hidden), dZ, dZ);
        }

        Add(dk, _dZ, Transpose(_frozen.W2, _dim, _hidden, _transposed2), n, _dim, _hidden);
        Add(dStart.W2, K.Transposed, _dZ, _dim, _hidden, n);
    }
}
