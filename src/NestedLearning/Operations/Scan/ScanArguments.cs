using static NestedLearning.Operations.TensorCondition;
using static NestedLearning.Operations.TensorRole;

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

    /// <summary>
    /// log α ≤ 0 [B, T, H]; −∞ is total decay. Null is α = 1. Larger ones are refused where the host can see them, not on a GPU.
    /// </summary>
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

    /// <summary>
    /// S_c of the first chunk [B, H, Dk, Dv], given exactly when <see cref="ScanSettings.Phase"/> is not 0; otherwise it is S0.
    /// </summary>
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

/// <summary>Names, shapes and roles of a scan's tensors.</summary>
internal static class ScanTensors
{
    private const int Chunks = 0;
    private const string Axes = "chunks B T H Dk Dv";

    private static readonly TensorCondition s_theta = new(4, $"it exactly when the write is not {nameof(ScanWrite.Given)}");
    private static readonly TensorCondition s_chunk = new(8, "null where the chunk is not part of the meaning");

    public static readonly TensorList<ScanInputs, ScanGradients> Inputs = new(
        Axes,
        new("q", "B T H Dk", Required, (in i) => i.Q, (i, t) => i with { Q = t! }, (in g) => g.Q, (g, t) => g with { Q = t }),
        new("k", "B T H Dk", Required, (in i) => i.K, (i, t) => i with { K = t! }, (in g) => g.K, (g, t) => g with { K = t }),
        new("u", "B T H Dv", Required, (in i) => i.U, (i, t) => i with { U = t! }, (in g) => g.U, (g, t) => g with { U = t }),
        new("log_alpha", "B T H", Optional, (in i) => i.LogAlpha, (i, t) => i with { LogAlpha = t },
            (in g) => g.LogAlpha, (g, t) => g with { LogAlpha = t }),
        new("erase", "B T H", Optional, (in i) => i.Erase, (i, t) => i with { Erase = t },
            (in g) => g.Erase, (g, t) => g with { Erase = t }),
        new("mu", "B T H", Optional, (in i) => i.Mu, (i, t) => i with { Mu = t }, (in g) => g.Mu, (g, t) => g with { Mu = t }),
        new("theta", "B T H", Required, (in i) => i.Theta, (i, t) => i with { Theta = t },
            (in g) => g.Theta, (g, t) => g with { Theta = t }, s_theta),
        new("s0", "B H Dk Dv", State, (in i) => i.S0, (i, t) => i with { S0 = t }, (in g) => g.S0, (g, t) => g with { S0 = t }),
        new("p0", "B H Dk Dv", State, (in i) => i.P0, (i, t) => i with { P0 = t }, (in g) => g.P0, (g, t) => g with { P0 = t }, WithMu),
        new("chunk_start", "B H Dk Dv", Required, (in i) => i.ChunkStart, (i, t) => i with { ChunkStart = t },
            (in g) => g.ChunkStart, (g, t) => g with { ChunkStart = t }, InsideChunk));

    public static readonly TensorList<ScanOutputs, ScanOutputGradients> Outputs = new(
        Axes,
        new("o", "B T H Dv", Required, (in i) => i.O, (i, t) => i with { O = t! }, (in g) => g.O, (g, t) => g with { O = t }),
        new("s", "B H Dk Dv", Required, (in i) => i.S, (i, t) => i with { S = t! }, (in g) => g.S, (g, t) => g with { S = t }),
        new("p", "B H Dk Dv", Required, (in i) => i.P, (i, t) => i with { P = t }, (in g) => g.P, (g, t) => g with { P = t }, WithMu),
        new("chunk_start", "B H Dk Dv", Optional, (in i) => i.ChunkStart, (i, t) => i with { ChunkStart = t },
            (in g) => g.ChunkStart, (g, t) => g with { ChunkStart = t }, s_chunk));

    public static readonly TensorList<ScanSaved> Saved = new(
        Axes,
        new("saved states", "B H chunks Dk Dv", Required, (in i) => i.States, (i, t) => i with { States = t }, Backward),
        new("saved momenta", "B H chunks Dk Dv", Required, (in i) => i.Momenta, (i, t) => i with { Momenta = t }, BackwardWithMu));

    /// <summary>The conditions that hold.</summary>
    public static int Held(in ScanInputs inputs, ScanSettings settings) =>
        WithMu.If(inputs.Mu is not null) | InsideChunk.If(settings.Phase > 0)
        | s_theta.If(settings.Write != ScanWrite.Given) | s_chunk.If(settings.HasMeaningfulChunk);

    /// <summary>Checks settings and inputs, and writes these down among what an operation uses.</summary>
    public static OperationCall Validate(in ScanInputs inputs, ScanSettings settings, OperationUses? uses = null)
    {
        if (settings is { Read: ScanRead.ChunkStart, Write: ScanWrite.Given })
        {
            throw new ArgumentException(
                $"Reads at the chunk's start need a rule whose chunk is part of its meaning, expected {nameof(ScanWrite.FrozenL2)} or "
                + $"{nameof(ScanWrite.Scaled)}; with {nameof(ScanWrite.Given)} writes the chunk is free.",
                nameof(settings));
        }

        if (settings.Phase != 0 && !settings.HasMeaningfulChunk)
        {
            throw new ArgumentException(
                $"The phase is {settings.Phase} tokens, expected 0 where the chunk is not part of the meaning.", nameof(settings));
        }

        Require.Finite(settings.Scale, "scale");
        ChunkPlan.Validate(settings.Plan(0));
        var call = new OperationCall(Held(inputs, settings)) { Uses = uses };
        Inputs.Validate(inputs, ref call);
        call.Set(Chunks, settings.Chunks(inputs.Time));
        return call;
    }
}
