namespace NestedLearning;

/// <summary>The objective whose gradient a self-modifying memory writes.</summary>
public enum MemoryObjective
{
    /// <summary>½‖M(k) − v̂‖² (NL 93).</summary>
    L2,

    /// <summary>−⟨M(k), v̂⟩ (NL 92).</summary>
    DotProduct,
}

/// <summary>
/// What a self-modifying scan computes; see spec section 6.
/// </summary>
/// <param name="Chunk">Tokens a chunk, at the start of which every memory is frozen as M_c: part of the meaning.</param>
/// <param name="Objective">The inner objective.</param>
/// <param name="Read">Whether a read sees its own token's write.</param>
/// <param name="EtaScale">s_η in η = softplus(M_η(x) + b_η) · s_η.</param>
/// <param name="EtaBias">b_η.</param>
/// <param name="AlphaBias">b_α in α = sigmoid(M_α(x) + b_α).</param>
/// <param name="NormalizeValues">
/// Whether v = norm(M_v(x)) in place of M_v(x). Targets v̂ = M(v) of memories that grow would grow with them, the faster
/// the larger they are, without bound. With ‖v‖ ≤ 1 the L2 rule's step S ← (I + η kᵀ(v − 2k)) S lets them grow by
/// e^{η/8} a token at most (to first order in η), whatever they have become.
/// </param>
public readonly record struct SelfModifyingSettings(
    int Chunk, MemoryObjective Objective, ScanRead Read, float EtaScale, float EtaBias, float AlphaBias, bool NormalizeValues = false)
{
    /// <summary>ε in norm(x) = x / √(Σx² + ε²).</summary>
    public const float NormEpsilon = 1e-6f;

    /// <summary>The number of chunks of a sequence.</summary>
    public int Chunks(int time) => (time + Chunk - 1) / Chunk;

    /// <summary>Columns of the side-by-side state for memories of width D: [k | v | mem | η | α] = 3D + 2.</summary>
    public static int StateColumns(int dim) => 3 * dim + 2;
}

/// <summary>
/// Inputs of the self-modifying scan. The five matrix memories of a head lie side by side as the columns
/// [k (D) | v (D) | mem (D) | η (1) | α (1)] of one state S [D, 3D + 2], so that all are one scan:
/// <code>
/// k = norm(x S_k,c)   v = x S_v,c   η = softplus(x S_η,c + b_η) s_η   α = sigmoid(x S_α,c + b_α)   v̂ = v S_c
/// S_t = α S_{t−1} − η kᵀ(k S_{t−1}) − η kᵀ(k S_c − v̂)        the last bracket is −v̂ for the dot product
/// o_t = q S_mem,t−1
/// </code>
/// </summary>
public readonly record struct SelfModifyingInputs
{
    /// <summary>Inputs [B, T, H, D].</summary>
    public required Tensor X { get; init; }

    /// <summary>Queries [B, T, H, D], already normalised.</summary>
    public required Tensor Q { get; init; }

    /// <summary>The memories before the first token [B, H, D, 3D + 2].</summary>
    public required Tensor S0 { get; init; }

    /// <summary>B.</summary>
    public int Batch => X.Shape[0];

    /// <summary>T.</summary>
    public int Time => X.Shape[1];

    /// <summary>H.</summary>
    public int Heads => X.Shape[2];

    /// <summary>D.</summary>
    public int Dim => X.Shape[3];
}

/// <summary>Where a self-modifying scan's results go. S may be the same tensor as the input S0.</summary>
public readonly record struct SelfModifyingOutputs
{
    /// <summary>Reads of mem [B, T, H, D].</summary>
    public required Tensor O { get; init; }

    /// <summary>The final memories [B, H, D, 3D + 2].</summary>
    public required Tensor S { get; init; }

    /// <summary>The memories at each chunk's start [B, H, chunks, D, 3D + 2], or null when no backward pass follows.</summary>
    public Tensor? ChunkStates { get; init; }
}

/// <summary>Where a self-modifying scan's input gradients go; null is not wanted.</summary>
public readonly record struct SelfModifyingGradients
{
    /// <summary>dL/dx [B, T, H, D].</summary>
    public Tensor? X { get; init; }

    /// <summary>dL/dq [B, T, H, D].</summary>
    public Tensor? Q { get; init; }

    /// <summary>dL/dS0 [B, H, D, 3D + 2].</summary>
    public Tensor? S0 { get; init; }
}
