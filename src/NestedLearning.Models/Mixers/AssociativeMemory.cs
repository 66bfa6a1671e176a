namespace NestedLearning.Models;

/// <summary>How a matrix memory with fixed projections is written.</summary>
internal enum MemoryRule
{
    /// <summary>S ← α S + kᵀ v.</summary>
    Hebbian,

    /// <summary>S ← α S + β kᵀ(v − k α S).</summary>
    Delta,

    /// <summary>P ← μ P + θ kᵀ(v − k S);  S ← α S + P.</summary>
    Titans,
}

/// <summary>
/// A matrix memory for each head, written with keys, values and rates that are projections of its input (docs/specification.md, section 1).
/// Keys and queries have length one, so that a write with β = 1 replaces what its key answered.
/// <code>
/// q, k = norm(x W_q), norm(x W_k);  v = x W_v;  β, θ, μ = sigmoid(x W + b);  log α = log sigmoid(x W_α + b_α)
/// </code>
/// </summary>
internal sealed class AssociativeMemory
{
    private readonly MemoryRule _rule;
    private readonly bool _negativeEigenvalues;
    private readonly int _heads;
    private readonly int _width;
    private readonly HeadProjections _projections;
    private readonly TokenRate? _decay;
    private readonly TokenRate? _write;
    private readonly TokenRate? _momentum;
    private readonly Parameter? _start;
    private readonly Parameter _readNorm;

    public AssociativeMemory(ParameterFactory make, string name, ModelConfiguration configuration, MemoryRule rule)
    {
        _rule = rule;
        _negativeEigenvalues = configuration.NegativeEigenvalues && rule == MemoryRule.Delta;
        _heads = configuration.Heads;
        _width = configuration.Dim / _heads;
        _projections = new HeadProjections(make, name, configuration);
        // Momentum multiplies what a write comes to by 1/(1 − μ): Titans begins with 0.12/(1 − 0.5).
        if (rule != MemoryRule.Hebbian)
            _write = new TokenRate(make, $"{name}.write", configuration, rule == MemoryRule.Titans ? -2 : 0);
        if (rule == MemoryRule.Titans)
        {
            _momentum = new TokenRate(make, $"{name}.momentum", configuration, 0);
            // Not zero: what an empty memory answers has no direction to be normed.
            _start = make.Normal($"{name}.start", [_heads, _width, _width], 1 / Math.Sqrt(_width), decays: false);
        }

        if (configuration.Decay || rule == MemoryRule.Titans)
            _decay = new TokenRate(make, $"{name}.decay", configuration, configuration.AlphaBias);
        _readNorm = make.Constant($"{name}.read_norm", [_width], 1);
    }

    public IEnumerable<Parameter> Parameters =>
        [.. _projections.Parameters, .. _write?.Parameters ?? [], .. _momentum?.Parameters ?? [],
        .. _start is null ? (Parameter[])[] : [_start], .. _decay?.Parameters ?? [], _readNorm];

    /// <summary>The memory in words and its rule.</summary>
    public (string Memory, string Rule) Describe() => (
        $"{_heads} matrices {_width} × {_width}{(HasMomentum ? " and their momenta" : "")}",
        (_rule, _decay) switch
        {
            (MemoryRule.Hebbian, null) => "S ← S + kᵀ v (NL 14–18)",
            (MemoryRule.Hebbian, _) => "S ← α S + kᵀ v",
            (MemoryRule.Delta, null) => "S ← S + β kᵀ(v − k S) (NL 65)",
            (MemoryRule.Delta, _) => "S ← α S + β kᵀ(v − α k S)",
            _ => "P ← μ P + θ kᵀ(v − k S), S ← α S + P (Titans 8–14)",
        });

    /// <summary>Whether there is a momentum memory beside the memory.</summary>
    public bool HasMomentum => _momentum is not null;

    /// <summary>The shape of the memory, and of the momentum: [B, H, D/H, D/H].</summary>
    public Shape Shape(int batch) => [batch, _heads, _width, _width];

    /// <summary>The memory that a context begins with, or the carried one; null is zero.</summary>
    public Variable? Begin(Tape tape, int batch, Tensor? carried) => (_start, carried) switch
    {
        (null, null) => null,
        (null, { } memory) => tape.Input(memory),
        ({ } start, null) => tape.UseStart(start, Shape(batch)),
        ({ } start, { } memory) => tape.UseFirstOrder(start, memory),
    };

    /// <summary>
    /// Writes x [B, T, D] token by token and answers each token's query after its write: normed reads [B, T, H, D/H], the
    /// memory and the momentum after the last token.
    /// </summary>
    public (Variable Reads, Variable S, Variable? P) Write(Tape tape, Variable x, Variable? s, Variable? p)
    {
        Variable? rate = _write?.Value(tape, x);
        if (_negativeEigenvalues)
            rate = tape.Add(rate!, rate!);
        // The delta rule erases what the decayed memory answers (Gated DeltaNet), Titans what the memory answers.
        Variable? erase = _rule == MemoryRule.Delta && _decay is not null ? tape.Multiply(rate!, _decay.Value(tape, x)) : rate;
        ScanResults results = tape.Scan(
            new ScanVariables(
                _projections.UnitQuery(tape, x), _projections.UnitKey(tape, x), _projections.Value(tape, x), _decay?.Log(tape, x), erase,
                _momentum?.Value(tape, x), rate, s, p),
            new ScanSettings(1, ScanRead.After, rate is null ? ScanWrite.Given : ScanWrite.Scaled, ScanSettings.DefaultChunk));
        return (Normed(tape, results.O), results.S, results.P);
    }

    /// <summary>What the memory answers to x [B, T, D] as it is, without a write: normed reads [B, T, H, D/H].</summary>
    public Variable Retrieve(Tape tape, Variable x, Variable s) => Normed(tape, tape.Retrieve(_projections.UnitQuery(tape, x), s));

    private Variable Normed(Tape tape, Variable reads) => tape.Norm(NormKind.Rms, reads, tape.Use(_readNorm));
}
