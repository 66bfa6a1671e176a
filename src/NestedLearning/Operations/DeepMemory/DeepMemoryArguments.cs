using static NestedLearning.Operations.TensorCondition;
using static NestedLearning.Operations.TensorRole;

namespace NestedLearning.Operations;

/// <summary>What a deep memory computes; see docs/specification.md, section 2.</summary>
/// <param name="Chunk">
/// Tokens a chunk, at the start of which the weights are frozen as W_c for the gradient: part of the meaning. At most
/// <see cref="ScanSettings.MaxChunk"/>.
/// </param>
/// <param name="Objective">The inner objective whose gradient is written.</param>
/// <param name="Read">Which weights a read sees.</param>
/// <param name="Residual">Whether M(x) = x + φ(x W2) W1, or φ(x W2) W1 alone.</param>
public readonly record struct DeepMemorySettings(int Chunk, MemoryObjective Objective, ScanRead Read, bool Residual = true)
{
    /// <summary>ε in x̂ = x / √(Σx² + ε²), along which a layer's input erases; a zero input erases nothing.</summary>
    public const float NormEpsilon = 1e-6f;

    /// <summary>
    /// Tokens of the first chunk that came before the sequence, 0 to Chunk − 1. The first chunk then has Chunk − Phase
    /// tokens, and W_c is <see cref="DeepMemoryInputs.ChunkStart1"/> and <see cref="DeepMemoryInputs.ChunkStart2"/> for them.
    /// </summary>
    public int Phase { get; init; }

    /// <summary>The number of chunks that have a token in a sequence; 0 for an empty one.</summary>
    public int Chunks(int time) => Plan(time).Count;

    /// <summary>The phase with which the sequence continues.</summary>
    public int NextPhase(int time) => Plan(time).NextPhase;

    internal ChunkPlan Plan(int time) => new(Chunk, Phase, time);

    /// <summary>The booleans as kernels take them.</summary>
    internal uint Flags => Residual ? (uint)Native.DeepMemoryFlags.Residual : 0;
}

/// <summary>
/// Inputs of a deep memory M(x) = x + φ(x W2) W1 with φ = GELU (NL 89, 91). B sequences, T tokens, H heads, width D, N hidden
/// units. With W_c the weights at the chunk's start, each token writes the gradient there on both layers:
/// <code>
/// z = k W2_c   h = φ(z)   e = k + h W1_c − v  (L2)  or  −v  (dot product)
/// u₁ = −θ e                            x₁ = h    layer 1: W1 [N, D]
/// u₂ = −θ ((e W1_cᵀ) ∘ φ'(z))          x₂ = k    layer 2: W2 [D, N]
/// P ← μ P + xᵀ u − ε x̂ᵀ(x̂ W)           W ← α W + P           x̂ = x / ‖x‖
/// o_t = q + φ(q W2) W1                 after or before the token's write, or at the chunk's start
/// </code>
/// </summary>
public readonly record struct DeepMemoryInputs
{
    /// <summary>Queries [B, T, H, D].</summary>
    public required Tensor Q { get; init; }

    /// <summary>Keys [B, T, H, D].</summary>
    public required Tensor K { get; init; }

    /// <summary>Targets [B, T, H, D].</summary>
    public required Tensor V { get; init; }

    /// <summary>
    /// log α ≤ 0 [B, T, H]; −∞ is total decay. Null is α = 1. Larger ones are refused where the host can see them, not on a GPU.
    /// </summary>
    public Tensor? LogAlpha { get; init; }

    /// <summary>θ, the inner learning rate, [B, T, H]. Null is 1.</summary>
    public Tensor? Theta { get; init; }

    /// <summary>ε [B, T, H]. Null is 0.</summary>
    public Tensor? Erase { get; init; }

    /// <summary>μ [B, T, H]. Null is 0 and then there are no momenta: neither these nor the final ones are given.</summary>
    public Tensor? Mu { get; init; }

    /// <summary>The second layer's weights before the first token [B, H, N, D].</summary>
    public required Tensor W1 { get; init; }

    /// <summary>The first layer's weights before the first token [B, H, D, N].</summary>
    public required Tensor W2 { get; init; }

    /// <summary>The momentum of W1 before the first token [B, H, N, D]. Null is zero.</summary>
    public Tensor? P1 { get; init; }

    /// <summary>The momentum of W2 before the first token [B, H, D, N]. Null is zero.</summary>
    public Tensor? P2 { get; init; }

    /// <summary>
    /// W1_c of the first chunk [B, H, N, D], given exactly when <see cref="DeepMemorySettings.Phase"/> is not 0; otherwise it
    /// is W1.
    /// </summary>
    public Tensor? ChunkStart1 { get; init; }

    /// <summary>The same of W2 [B, H, D, N].</summary>
    public Tensor? ChunkStart2 { get; init; }

    /// <summary>B.</summary>
    public int Batch => Q.Shape[0];

    /// <summary>T.</summary>
    public int Time => Q.Shape[1];

    /// <summary>H.</summary>
    public int Heads => Q.Shape[2];

    /// <summary>D.</summary>
    public int Dim => Q.Shape[3];

    /// <summary>N.</summary>
    public int Hidden => W2.Shape[3];
}

/// <summary>Where a deep memory's results go. A final tensor may be the same as the input that it continues.</summary>
public readonly record struct DeepMemoryOutputs
{
    /// <summary>Reads [B, T, H, D].</summary>
    public required Tensor O { get; init; }

    /// <summary>The final W1 [B, H, N, D].</summary>
    public required Tensor W1 { get; init; }

    /// <summary>The final W2 [B, H, D, N].</summary>
    public required Tensor W2 { get; init; }

    /// <summary>The final momentum of W1 [B, H, N, D]; given exactly when μ is.</summary>
    public Tensor? P1 { get; init; }

    /// <summary>The final momentum of W2 [B, H, D, N]; given exactly when μ is.</summary>
    public Tensor? P2 { get; init; }

    /// <summary>
    /// W1_c of the chunk that the next token belongs to [B, H, N, D], with which the sequence continues: that of the last
    /// chunk, or W1 where the last chunk is whole. Null is not wanted.
    /// </summary>
    public Tensor? ChunkStart1 { get; init; }

    /// <summary>The same of W2 [B, H, D, N].</summary>
    public Tensor? ChunkStart2 { get; init; }

    /// <summary>What the backward pass needs; default when there will be none.</summary>
    public DeepMemorySaved Saved { get; init; }
}

/// <summary>The state before each chunk's first token in the sequence, kept for the backward pass.</summary>
/// <param name="W1">[B, H, chunks, N, D].</param>
/// <param name="W2">[B, H, chunks, D, N].</param>
/// <param name="P1">[B, H, chunks, N, D], exactly when μ is given.</param>
/// <param name="P2">[B, H, chunks, D, N], exactly when μ is given.</param>
public readonly record struct DeepMemorySaved(Tensor? W1, Tensor? W2, Tensor? P1 = null, Tensor? P2 = null);

/// <summary>The gradients that arrive at a deep memory's results, each with its result's shape. A null is zero.</summary>
public readonly record struct DeepMemoryOutputGradients
{
    /// <summary>dL/do.</summary>
    public Tensor? O { get; init; }

    /// <summary>dL/dW1 of the final weights.</summary>
    public Tensor? W1 { get; init; }

    /// <summary>dL/dW2 of the final weights.</summary>
    public Tensor? W2 { get; init; }

    /// <summary>dL/dP1 of the final momentum.</summary>
    public Tensor? P1 { get; init; }

    /// <summary>dL/dP2 of the final momentum.</summary>
    public Tensor? P2 { get; init; }

    /// <summary>dL/dW1_c of <see cref="DeepMemoryOutputs.ChunkStart1"/>.</summary>
    public Tensor? ChunkStart1 { get; init; }

    /// <summary>dL/dW2_c of <see cref="DeepMemoryOutputs.ChunkStart2"/>.</summary>
    public Tensor? ChunkStart2 { get; init; }
}

/// <summary>Where a deep memory's input gradients go, each with its input's shape; null is not wanted.</summary>
public readonly record struct DeepMemoryGradients
{
    /// <summary>dL/dq.</summary>
    public Tensor? Q { get; init; }

    /// <summary>dL/dk.</summary>
    public Tensor? K { get; init; }

    /// <summary>dL/dv.</summary>
    public Tensor? V { get; init; }

    /// <summary>dL/dlog α; 0 where α = 0.</summary>
    public Tensor? LogAlpha { get; init; }

    /// <summary>dL/dθ.</summary>
    public Tensor? Theta { get; init; }

    /// <summary>dL/dε.</summary>
    public Tensor? Erase { get; init; }

    /// <summary>dL/dμ.</summary>
    public Tensor? Mu { get; init; }

    /// <summary>dL/dW1 of the initial weights: what meta-learns them.</summary>
    public Tensor? W1 { get; init; }

    /// <summary>dL/dW2 of the initial weights.</summary>
    public Tensor? W2 { get; init; }

    /// <summary>dL/dP1.</summary>
    public Tensor? P1 { get; init; }

    /// <summary>dL/dP2.</summary>
    public Tensor? P2 { get; init; }

    /// <summary>dL/dW1_c of <see cref="DeepMemoryInputs.ChunkStart1"/>.</summary>
    public Tensor? ChunkStart1 { get; init; }

    /// <summary>dL/dW2_c of <see cref="DeepMemoryInputs.ChunkStart2"/>.</summary>
    public Tensor? ChunkStart2 { get; init; }
}

/// <summary>Names, shapes and roles of a deep memory's tensors.</summary>
internal static class DeepMemoryTensors
{
    private const int Chunks = 0;
    private const string Axes = "chunks B T H D N";

    public static readonly TensorList<DeepMemoryInputs, DeepMemoryGradients> Inputs = new(
        Axes,
        new("q", "B T H D", Required, (in i) => i.Q, (i, t) => i with { Q = t! }, (in g) => g.Q, (g, t) => g with { Q = t }),
        new("k", "B T H D", Required, (in i) => i.K, (i, t) => i with { K = t! }, (in g) => g.K, (g, t) => g with { K = t }),
        new("v", "B T H D", Required, (in i) => i.V, (i, t) => i with { V = t! }, (in g) => g.V, (g, t) => g with { V = t }),
        new("log_alpha", "B T H", Optional, (in i) => i.LogAlpha, (i, t) => i with { LogAlpha = t },
            (in g) => g.LogAlpha, (g, t) => g with { LogAlpha = t }),
        new("theta", "B T H", Optional, (in i) => i.Theta, (i, t) => i with { Theta = t },
            (in g) => g.Theta, (g, t) => g with { Theta = t }),
        new("erase", "B T H", Optional, (in i) => i.Erase, (i, t) => i with { Erase = t },
            (in g) => g.Erase, (g, t) => g with { Erase = t }),
        new("mu", "B T H", Optional, (in i) => i.Mu, (i, t) => i with { Mu = t }, (in g) => g.Mu, (g, t) => g with { Mu = t }),
        // The hidden units N are those of w2.
        new("w2", "B H D N", Required, (in i) => i.W2, (i, t) => i with { W2 = t! }, (in g) => g.W2, (g, t) => g with { W2 = t }),
        new("w1", "B H N D", Required, (in i) => i.W1, (i, t) => i with { W1 = t! }, (in g) => g.W1, (g, t) => g with { W1 = t }),
        new("p1", "B H N D", State, (in i) => i.P1, (i, t) => i with { P1 = t }, (in g) => g.P1, (g, t) => g with { P1 = t }, WithMu),
        new("p2", "B H D N", State, (in i) => i.P2, (i, t) => i with { P2 = t }, (in g) => g.P2, (g, t) => g with { P2 = t }, WithMu),
        new("chunk_start1", "B H N D", Required, (in i) => i.ChunkStart1, (i, t) => i with { ChunkStart1 = t },
            (in g) => g.ChunkStart1, (g, t) => g with { ChunkStart1 = t }, InsideChunk),
        new("chunk_start2", "B H D N", Required, (in i) => i.ChunkStart2, (i, t) => i with { ChunkStart2 = t },
            (in g) => g.ChunkStart2, (g, t) => g with { ChunkStart2 = t }, InsideChunk));

    public static readonly TensorList<DeepMemoryOutputs, DeepMemoryOutputGradients> Outputs = new(
        Axes,
        new("o", "B T H D", Required, (in i) => i.O, (i, t) => i with { O = t! }, (in g) => g.O, (g, t) => g with { O = t }),
        new("w1", "B H N D", Required, (in i) => i.W1, (i, t) => i with { W1 = t! }, (in g) => g.W1, (g, t) => g with { W1 = t }),
        new("w2", "B H D N", Required, (in i) => i.W2, (i, t) => i with { W2 = t! }, (in g) => g.W2, (g, t) => g with { W2 = t }),
        new("p1", "B H N D", Required, (in i) => i.P1, (i, t) => i with { P1 = t }, (in g) => g.P1, (g, t) => g with { P1 = t }, WithMu),
        new("p2", "B H D N", Required, (in i) => i.P2, (i, t) => i with { P2 = t }, (in g) => g.P2, (g, t) => g with { P2 = t }, WithMu),
        new("chunk_start1", "B H N D", Optional, (in i) => i.ChunkStart1, (i, t) => i with { ChunkStart1 = t },
            (in g) => g.ChunkStart1, (g, t) => g with { ChunkStart1 = t }),
        new("chunk_start2", "B H D N", Optional, (in i) => i.ChunkStart2, (i, t) => i with { ChunkStart2 = t },
            (in g) => g.ChunkStart2, (g, t) => g with { ChunkStart2 = t }));

    public static readonly TensorList<DeepMemorySaved> Saved = new(
        Axes,
        new("saved w1", "B H chunks N D", Required, (in i) => i.W1, (i, t) => i with { W1 = t }, Backward),
        new("saved w2", "B H chunks D N", Required, (in i) => i.W2, (i, t) => i with { W2 = t }, Backward),
        new("saved p1", "B H chunks N D", Required, (in i) => i.P1, (i, t) => i with { P1 = t }, BackwardWithMu),
        new("saved p2", "B H chunks D N", Required, (in i) => i.P2, (i, t) => i with { P2 = t }, BackwardWithMu));

    /// <summary>The conditions that hold.</summary>
    public static int Held(in DeepMemoryInputs inputs, DeepMemorySettings settings) =>
        WithMu.If(inputs.Mu is not null) | InsideChunk.If(settings.Phase > 0);

    /// <summary>Checks settings and inputs, and writes these down among what an operation uses.</summary>
    public static OperationCall Validate(in DeepMemoryInputs inputs, DeepMemorySettings settings, OperationUses? uses = null)
    {
        ChunkPlan.Validate(settings.Plan(0));
        var call = new OperationCall(Held(inputs, settings)) { Uses = uses };
        Inputs.Validate(inputs, ref call);
        Require.Positive(inputs.Dim, "D");
        Require.Positive(inputs.Hidden, "N");
        call.Set(Chunks, settings.Chunks(inputs.Time));
        return call;
    }
}
