using static NestedLearning.Operations.TensorCondition;
using static NestedLearning.Operations.TensorRole;

namespace NestedLearning.Operations;

/// <summary>The objective whose gradient a self-modifying memory writes.</summary>
public enum MemoryObjective
{
    /// <summary>½‖M(k) − v̂‖² (NL 93).</summary>
    L2 = Native.MemoryObjective.L2,

    /// <summary>−⟨M(k), v̂⟩ (NL 92).</summary>
    DotProduct = Native.MemoryObjective.Dot,
}

/// <summary>
/// What a self-modifying scan computes; see docs/specification.md, section 6.
/// </summary>
/// <param name="Chunk">Tokens a chunk, at the start of which every memory is frozen as M_c: part of the meaning.</param>
/// <param name="Objective">The inner objective.</param>
/// <param name="Read">Which state a read sees.</param>
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

    /// <summary>
    /// Tokens of the first chunk that came before the sequence, 0 to Chunk − 1. The first chunk then has Chunk − Phase
    /// tokens, and M_c is <see cref="SelfModifyingInputs.ChunkStart"/> for them.
    /// </summary>
    public int Phase { get; init; }

    /// <summary>
    /// Whether the inner gradient is taken at S_{t−1} in place of S_c (NL 88 with the L2 objective; that of the dot product
    /// is the same everywhere): the last bracket is then η kᵀ(k S_{t−1} − v̂).
    /// </summary>
    public bool ExactGradient { get; init; }

    /// <summary>The number of chunks of a sequence; 0 for an empty one.</summary>
    public int Chunks(int time) => Plan(time).Count;

    /// <summary>The phase with which the sequence continues.</summary>
    public int NextPhase(int time) => Plan(time).NextPhase;

    internal ChunkPlan Plan(int time) => new(Chunk, Phase, time);

    /// <summary>The booleans as kernels take them.</summary>
    internal uint Flags => (NormalizeValues ? (uint)Native.SelfModifyingFlags.NormalizeValues : 0)
        | (ExactGradient ? (uint)Native.SelfModifyingFlags.ExactGradient : 0);

    /// <summary>Whether writes hold −η k S_c.</summary>
    internal bool WritesFrozenError => Objective == MemoryObjective.L2 && !ExactGradient;

    /// <summary>ε / η of the erase before each write.</summary>
    internal int EraseFactor => Objective == MemoryObjective.L2 && ExactGradient ? 2 : 1;

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

    /// <summary>
    /// S_c of the first chunk [B, H, D, 3D + 2], given exactly when <see cref="SelfModifyingSettings.Phase"/> is not 0;
    /// otherwise it is S0.
    /// </summary>
    public Tensor? ChunkStart { get; init; }

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

    /// <summary>
    /// S_c of the chunk that the next token belongs to [B, H, D, 3D + 2], with which the sequence continues: that of the
    /// last chunk, or S where the last chunk is whole. Null is not wanted. May be the same tensor as the input's.
    /// </summary>
    public Tensor? ChunkStart { get; init; }

    /// <summary>
    /// The memories before each chunk's first token in the sequence [B, H, chunks, D, 3D + 2], or null when no backward
    /// pass follows.
    /// </summary>
    public Tensor? ChunkStates { get; init; }
}

/// <summary>The gradients that arrive at a self-modifying scan's results; null is zero.</summary>
/// <param name="O">dL/do [B, T, H, D].</param>
/// <param name="S">dL/dS_T [B, H, D, 3D + 2].</param>
/// <param name="ChunkStart">dL/dS_c of <see cref="SelfModifyingOutputs.ChunkStart"/> [B, H, D, 3D + 2].</param>
public readonly record struct SelfModifyingOutputGradients(Tensor O, Tensor? S = null, Tensor? ChunkStart = null);

/// <summary>Where a self-modifying scan's input gradients go; null is not wanted.</summary>
public readonly record struct SelfModifyingGradients
{
    /// <summary>dL/dx [B, T, H, D].</summary>
    public Tensor? X { get; init; }

    /// <summary>dL/dq [B, T, H, D].</summary>
    public Tensor? Q { get; init; }

    /// <summary>dL/dS0 [B, H, D, 3D + 2].</summary>
    public Tensor? S0 { get; init; }

    /// <summary>dL/dS_c of <see cref="SelfModifyingInputs.ChunkStart"/> [B, H, D, 3D + 2].</summary>
    public Tensor? ChunkStart { get; init; }
}

/// <summary>Names, shapes and roles of a self-modifying scan's tensors.</summary>
internal static class SelfModifyingTensors
{
    private const int Chunks = 0;
    private const string Axes = "chunks B T H D";

    public static readonly TensorList<SelfModifyingInputs, SelfModifyingGradients> Inputs = new(
        Axes,
        new("x", "B T H D", Required, (in i) => i.X, (i, t) => i with { X = t! }, (in g) => g.X, (g, t) => g with { X = t }),
        new("q", "B T H D", Required, (in i) => i.Q, (i, t) => i with { Q = t! }, (in g) => g.Q, (g, t) => g with { Q = t }),
        new("s0", "B H D 3D+2", Required, (in i) => i.S0, (i, t) => i with { S0 = t! }, (in g) => g.S0, (g, t) => g with { S0 = t }),
        new("chunk_start", "B H D 3D+2", Required, (in i) => i.ChunkStart, (i, t) => i with { ChunkStart = t },
            (in g) => g.ChunkStart, (g, t) => g with { ChunkStart = t }, InsideChunk));

    public static readonly TensorList<SelfModifyingOutputs, SelfModifyingOutputGradients> Outputs = new(
        Axes,
        new("o", "B T H D", Required, (in i) => i.O, (i, t) => i with { O = t! },
            (in g) => g.O, (g, t) => g with { O = t! }, gradientRole: Required),
        new("s", "B H D 3D+2", Required, (in i) => i.S, (i, t) => i with { S = t! }, (in g) => g.S, (g, t) => g with { S = t }),
        new("chunk_start", "B H D 3D+2", Optional, (in i) => i.ChunkStart, (i, t) => i with { ChunkStart = t },
            (in g) => g.ChunkStart, (g, t) => g with { ChunkStart = t }));

    public static readonly TensorList<Tensor?> Saved = new(
        Axes,
        new TensorRow<Tensor?>("chunk states", "B H chunks D 3D+2", Required, (in i) => i, (_, t) => t, Backward));

    /// <summary>The conditions that hold.</summary>
    public static int Held(SelfModifyingSettings settings) => InsideChunk.If(settings.Phase > 0);

    /// <summary>Checks settings and inputs, and writes these down among what an operation uses.</summary>
    public static OperationCall Validate(in SelfModifyingInputs inputs, SelfModifyingSettings settings, OperationUses? uses = null)
    {
        Require.Finite(settings.EtaScale, "eta_scale");
        Require.Finite(settings.EtaBias, "eta_bias");
        Require.Finite(settings.AlphaBias, "alpha_bias");
        ChunkPlan.Validate(settings.Plan(0));
        var call = new OperationCall(Held(settings)) { Uses = uses };
        Inputs.Validate(inputs, ref call);
        Require.Positive(inputs.Dim, "D");
        call.Set(Chunks, settings.Chunks(inputs.Time));
        return call;
    }
}
