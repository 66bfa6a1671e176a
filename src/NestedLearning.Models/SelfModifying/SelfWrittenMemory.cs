namespace NestedLearning.Models;

/// <summary>What tokens write into every memory: keys [B, T, H, D], values [B, T, H, D], rates and log decays [B, T, H].</summary>
internal sealed record SelfModifyingWrites(Variable Keys, Variable Values, Variable Eta, Variable LogAlpha);

/// <summary>The weights of one memory for every sequence: as they are, and as they were at their chunk's start.</summary>
internal sealed record MemoryWeights(Variable[] Current, Variable[] Frozen);

/// <summary>
/// One memory M_□ that makes its own targets and writes them: v̂ = M_□,c(v), and a step of gradient descent with weight decay
/// towards v̂ at the key k (NL 88–93). Frozen at the start of its own chunks.
/// </summary>
internal abstract class SelfWrittenMemory(string name, int chunk, Parameter[] starts)
{
    /// <summary>What such memories are written with, in words.</summary>
    public const string ContextFlow = "tokens, and keys, values, rates and targets that the memories make themselves";

    /// <summary>Tokens for which it stays frozen.</summary>
    public int Chunk => chunk;

    /// <summary>The learned starts of its weights, one for all sequences.</summary>
    public Parameter[] Starts => starts;

    /// <summary>The parts of a state: its weights, and those at the start of an unfinished chunk.</summary>
    public IEnumerable<StatePart> State =>
    [
        .. starts.Select((start, i) => new StatePart(Part("memory", i), (batch, tokens) => tokens > 0 ? WithBatch(start, batch) : null)),
        .. starts.Select((start, i) =>
            new StatePart(Part("chunk_start", i), (batch, tokens) => tokens % chunk > 0 ? WithBatch(start, batch) : null)),
    ];

    /// <summary>The update rule in words.</summary>
    public static string Rule(SelfModifyingSettings settings) => (settings.Objective, settings.ExactGradient) switch
    {
        (MemoryObjective.L2, false) => "S ← α S − η kᵀ(k S) − η kᵀ(k S_c − v̂) (NL 93)",
        (MemoryObjective.L2, true) => "S ← α S − η kᵀ(k S) − η kᵀ(k S − v̂) (NL 88)",
        _ => "S ← α S − η kᵀ(k S) + η kᵀ v̂ (NL 92)",
    };

    /// <summary>What it is, in words.</summary>
    public IEnumerable<StateDescription> Describe(SelfModifyingSettings settings)
    {
        string weights = string.Join(" and ", starts.Select(s => string.Join(" × ", s.Value.Shape.AsSpan().ToArray())));
        return
        [
            new($"self-modifying memory {name}", [.. starts.Select((_, i) => Part("memory", i))], $"{Kind} {weights}", ContextFlow,
                Rule(settings)),
            new($"frozen memory {name}", [.. starts.Select((_, i) => Part("chunk_start", i))], "the memory at its chunk's start",
                "the memory", "S_c ← S", chunk),
        ];
    }

    /// <summary>Tokens of its present chunk that were read already.</summary>
    public int Phase(long tokens) => (int)(tokens % chunk);

    /// <summary>Its weights where a state's sequences stand.</summary>
    public MemoryWeights Begin(Tape tape, MixerState state)
    {
        Variable[] current = [.. starts.Select((start, i) =>
            state[Part("memory", i)] is { } carried ? tape.UseFirstOrder(start, carried)
            : tape.UseStart(start, WithBatch(start, state.Batch)))];
        return new MemoryWeights(current,
            Phase(state.Tokens) == 0 ? current
            : [.. starts.Select((start, i) => tape.UseFirstOrder(start, state[Part("chunk_start", i)]!))]);
    }

    /// <summary>What a state after these weights holds.</summary>
    public IEnumerable<(string Name, Tensor Value)> End(MemoryWeights weights) =>
    [
        .. weights.Current.Select((w, i) => (Part("memory", i), w.Value)),
        .. weights.Frozen.Select((w, i) => (Part("chunk_start", i), w.Value)),
    ];

    /// <summary>M_c(x) [B, T, H, ·] for x [B, T, H, D].</summary>
    public abstract Variable Answer(Tape tape, MemoryWeights weights, Variable x);

    /// <summary>
    /// Writes tokens of one chunk: reads of queries [B, T, H, D] before, after or at the chunk's start, and the weights
    /// after the last token.
    /// </summary>
    /// <param name="tape">Where it is recorded.</param>
    /// <param name="weights">The weights before the first token.</param>
    /// <param name="phase">Tokens of the chunk before these.</param>
    /// <param name="tokens">What the tokens write.</param>
    /// <param name="queries">What is read.</param>
    /// <param name="settings">The objective, its gradient, and the read.</param>
    public abstract (Variable Reads, Variable[] Weights) Write(Tape tape, MemoryWeights weights, int phase, SelfModifyingWrites tokens,
        Variable queries, SelfModifyingSettings settings);

    /// <summary>What it is made of, in words.</summary>
    protected abstract string Kind { get; }

    private string Part(string kind, int weight) => starts.Length == 1 ? $"{kind}.{name}" : $"{kind}.{name}.w{weight + 1}";

    private static Shape WithBatch(Parameter start, int batch) => [batch, .. start.Value.Shape.AsSpan()];
}

/// <summary>M(x) = x S, S [D, Dv].</summary>
internal sealed class MatrixMemory(string name, int chunk, Parameter start) : SelfWrittenMemory(name, chunk, [start])
{
    /// <inheritdoc/>
    protected override string Kind => "matrix";

    /// <inheritdoc/>
    public override Variable Answer(Tape tape, MemoryWeights weights, Variable x) => tape.Retrieve(x, weights.Frozen[0]);

    // w_t = η (v̂ − [L2, frozen] k S_c) − [2 for exact L2] η k S_{t−1}, where v̂ − k S_c = (v − k) S_c.
    /// <inheritdoc/>
    public override (Variable Reads, Variable[] Weights) Write(Tape tape, MemoryWeights weights, int phase, SelfModifyingWrites tokens,
        Variable queries, SelfModifyingSettings settings)
    {
        bool l2 = settings.Objective == MemoryObjective.L2, atStart = settings.Read == ScanRead.ChunkStart;
        Variable difference = l2 && !settings.ExactGradient ? tape.Add(tokens.Values, tape.Scale(tokens.Keys, -1)) : tokens.Values;
        Variable erase = tape.Scale(tokens.Eta, l2 && settings.ExactGradient ? 2 : 1);
        ScanResults results = tape.Scan(
            new ScanVariables(queries, tokens.Keys, Answer(tape, weights, difference), tokens.LogAlpha, erase, Theta: tokens.Eta,
                S0: weights.Current[0]),
            new ScanSettings(1, atStart ? ScanRead.Before : settings.Read, ScanWrite.Scaled, ScanSettings.DefaultChunk));
        return (atStart ? Answer(tape, weights, queries) : results.O, [results.S]);
    }
}

/// <summary>M(x) = [residual] x + φ(x W2) W1, W1 [N, D], W2 [D, N]; the gradient is frozen (docs/specification.md, section 2).</summary>
internal sealed class TwoLayerMemory(string name, int chunk, Parameter w1, Parameter w2, bool residual)
    : SelfWrittenMemory(name, chunk, [w1, w2])
{
    /// <inheritdoc/>
    protected override string Kind => "two layers";

    /// <inheritdoc/>
    public override Variable Answer(Tape tape, MemoryWeights weights, Variable x)
    {
        Variable answer = tape.Retrieve(tape.Activate(Activation.Gelu, tape.Retrieve(x, weights.Frozen[1])), weights.Frozen[0]);
        return residual ? tape.Add(x, answer) : answer;
    }

    /// <inheritdoc/>
    public override (Variable Reads, Variable[] Weights) Write(Tape tape, MemoryWeights weights, int phase, SelfModifyingWrites tokens,
        Variable queries, SelfModifyingSettings settings)
    {
        bool began = phase > 0;
        DeepMemoryResults results = tape.DeepMemory(
            new DeepMemoryVariables(
                queries, tokens.Keys, Answer(tape, weights, tokens.Values), weights.Current[0], weights.Current[1], tokens.LogAlpha,
                tokens.Eta, tokens.Eta,
                ChunkStart1: began ? weights.Frozen[0] : null, ChunkStart2: began ? weights.Frozen[1] : null),
            new DeepMemorySettings(Chunk, settings.Objective, settings.Read, residual) { Phase = phase });
        return (results.O, [results.W1, results.W2]);
    }
}
