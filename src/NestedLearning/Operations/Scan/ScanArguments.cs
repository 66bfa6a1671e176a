namespace NestedLearning.Operations;

/// <summary>Which state of the memory a token's query reads.</summary>
public enum ScanRead
{
    /// <summary>o_t = scale · q_t S_t.</summary>
    After = Native.ScanRead.After,

    /// <summary>o_t = scale · q_t S_{t−1}.</summary>
    Before = Native.ScanRead.Before,

    /// <summary>o_t = scale · q_t S_c, the memory at the start of the token's chunk (NL 90). The chunk is part of the meaning.</summary>
    ChunkStart = Native.ScanRead.ChunkStart,
}

/// <summary>How the write u_t of docs/specification.md, section 1 is made from <see cref="ScanInputs.U"/>.</summary>
public enum ScanWrite
{
    /// <summary>u_t = U_t; theta is not given.</summary>
    Given = Native.ScanWrite.Given,

    /// <summary>u_t = θ_t U_t: the dot-product objective (NL 92), and Titans' exact online rule with ε = θ.</summary>
    Scaled = Native.ScanWrite.Scaled,

    /// <summary>
    /// u_t = θ_t (U_t − k_t S_c), the L2 gradient frozen at the start S_c of the token's chunk (Titans 3.2, NL 90, 93).
    /// The chunk length is part of the meaning.
    /// </summary>
    FrozenL2 = Native.ScanWrite.FrozenL2,
}

/// <summary>What a scan computes; see docs/specification.md, section 1.</summary>
/// <param name="Scale">Multiplies every read.</param>
/// <param name="Read">Which state a read sees.</param>
/// <param name="Write">How writes are made.</param>
/// <param name="Chunk">
/// Tokens a chunk. Changes speed and memory alone, except where it <see cref="HasMeaningfulChunk">is part of the meaning</see>.
/// At most <see cref="MaxChunk"/>.
/// </param>
public readonly record struct ScanSettings(float Scale, ScanRead Read, ScanWrite Write, int Chunk)
{
    /// <summary>The longest chunk a kernel accepts.</summary>
    public const int MaxChunk = Native.Kernels.MaxChunk;

    /// <summary>The chunk length used where it is free: the square work inside a chunk stays below the work on the state.</summary>
    public const int DefaultChunk = 64;

    /// <summary>
    /// Tokens of the first chunk that came before the sequence, 0 to Chunk − 1; not 0 only where the chunk is part of the
    /// meaning. The first chunk then has Chunk − Phase tokens, and its start is <see cref="ScanInputs.ChunkStart"/>.
    /// </summary>
    public int Phase { get; init; }

    /// <summary>Whether results depend on where chunks start.</summary>
    public bool HasMeaningfulChunk => Write == ScanWrite.FrozenL2 || Read == ScanRead.ChunkStart;

    /// <summary>The number of chunks of a sequence; 0 for an empty one.</summary>
    public int Chunks(int time) => Plan(time).Count;

    /// <summary>The phase with which the sequence continues.</summary>
    public int NextPhase(int time) => Plan(time).NextPhase;

    internal ChunkPlan Plan(int time) => new(Chunk, Phase, time);
}

/// <summary>
/// Inputs of the scan. B sequences, T tokens, H heads, keys of Dk and values of Dv elements:
/// <code>
/// w_t = u_t − ε_t (k_t S_{t−1});  P_t = μ_t P_{t−1} + k_tᵀ w_t;  S_t = α_t S_{t−1} + P_t;  o_t = scale · q_t S_t
/// </code>
/// </summary>
public readonly record struct ScanInputs
{
    /// <summary>Queries [B, T, H, Dk].</summary>
    public required Tensor Q { get; init; }

    /// <summary>Keys [B, T, H, Dk].</summary>
    public required Tensor K { get; init; }

    /// <summary>Writes, or the targets v that writes are made from, [B, T, H, Dv].</summary>
    public required Tensor U { get; init; }

    /// <summary>log α ≤ 0 [B, T, H]; −∞ is total decay. Null is α = 1.</summary>
    public Tensor? LogAlpha { get; init; }

    /// <summary>ε [B, T, H]. Null is 0.</summary>
    public Tensor? Erase { get; init; }

    /// <summary>μ [B, T, H]. Null is 0 and then there is no P: <see cref="P0"/> and the final P must be null.</summary>
    public Tensor? Mu { get; init; }

    /// <summary>θ [B, T, H], given exactly when <see cref="ScanSettings.Write"/> is not <see cref="ScanWrite.Given"/>.</summary>
    public Tensor? Theta { get; init; }

    /// <summary>The memory before the first token [B, H, Dk, Dv]. Null is zero.</summary>
    public Tensor? S0 { get; init; }

    /// <summary>The momentum memory before the first token [B, H, Dk, Dv]. Null is zero.</summary>
    public Tensor? P0 { get; init; }

    /// <summary>S_c of the first chunk [B, H, Dk, Dv], given exactly when <see cref="ScanSettings.Phase"/> is not 0; otherwise it is S0.</summary>
    public Tensor? ChunkStart { get; init; }

    /// <summary>B.</summary>
    public int Batch => Q.Shape[0];

    /// <summary>T.</summary>
    public int Time => Q.Shape[1];

    /// <summary>H.</summary>
    public int Heads => Q.Shape[2];

    /// <summary>Dk.</summary>
    public int KeyDim => Q.Shape[3];

    /// <summary>Dv.</summary>
    public int ValueDim => U.Shape[3];
}

/// <summary>Where a scan's results go. S may be the same tensor as the input S0, and P as P0.</summary>
public readonly record struct ScanOutputs
{
    /// <summary>Reads [B, T, H, Dv].</summary>
    public required Tensor O { get; init; }

    /// <summary>The final memory [B, H, Dk, Dv].</summary>
    public required Tensor S { get; init; }

    /// <summary>The final momentum memory [B, H, Dk, Dv]; given exactly when μ is.</summary>
    public Tensor? P { get; init; }

    /// <summary>
    /// S_c of the chunk that the next token belongs to [B, H, Dk, Dv], with which the sequence continues: that of the last
    /// chunk, or S where the last chunk is whole. Null is not wanted; only where the chunk is part of the meaning. May be
    /// the same tensor as the input's.
    /// </summary>
    public Tensor? ChunkStart { get; init; }

    /// <summary>What the backward pass needs; default when there will be none.</summary>
    public ScanSaved Saved { get; init; }
}

/// <summary>The states before each chunk's first token in the sequence, kept for the backward pass.</summary>
/// <param name="States">[B, H, chunks, Dk, Dv]; entry 0 is S0.</param>
/// <param name="Momenta">The same of P, exactly when μ is given.</param>
public readonly record struct ScanSaved(Tensor? States, Tensor? Momenta);

/// <summary>The gradients that arrive at a scan's results. A null is zero.</summary>
/// <param name="O">dL/do [B, T, H, Dv].</param>
/// <param name="S">dL/dS_T [B, H, Dk, Dv].</param>
/// <param name="P">dL/dP_T [B, H, Dk, Dv].</param>
/// <param name="ChunkStart">dL/dS_c of <see cref="ScanOutputs.ChunkStart"/> [B, H, Dk, Dv].</param>
public readonly record struct ScanOutputGradients(Tensor? O, Tensor? S, Tensor? P, Tensor? ChunkStart = null);

/// <summary>Where a scan's input gradients go, each with its input's shape; null is not wanted.</summary>
public readonly record struct ScanGradients
{
    /// <summary>dL/dq.</summary>
    public Tensor? Q { get; init; }

    /// <summary>dL/dk.</summary>
    public Tensor? K { get; init; }

    /// <summary>dL/dU: of the write or of the target it is made from.</summary>
    public Tensor? U { get; init; }

    /// <summary>dL/dlog α; 0 where α = 0.</summary>
    public Tensor? LogAlpha { get; init; }

    /// <summary>dL/dε.</summary>
    public Tensor? Erase { get; init; }

    /// <summary>dL/dμ.</summary>
    public Tensor? Mu { get; init; }

    /// <summary>dL/dθ.</summary>
    public Tensor? Theta { get; init; }

    /// <summary>dL/dS0.</summary>
    public Tensor? S0 { get; init; }

    /// <summary>dL/dP0.</summary>
    public Tensor? P0 { get; init; }

    /// <summary>dL/dS_c of <see cref="ScanInputs.ChunkStart"/>.</summary>
    public Tensor? ChunkStart { get; init; }
}
