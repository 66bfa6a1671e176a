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
/// A matrix memory for each head, written with keys, values and rates that are projections of its input (spec section 1).
/// Keys and queries have length one, so that a write with β = 1 replaces what its key answered.
/// <code>
/// q, k = norm(x W_q), norm(x W_k);  v = x W_v;  β, θ, μ = sigmoid(x W + b);  log α = log sigmoid(x W_α + b_α)
/// </code>
/// </summary>
internal sealed class AssociativeMemory
{
    private readonly MemoryRule _rule;
    private readonly int _heads;
    private readonly int _width;
    private readonly Parameter _query;
    private readonly Parameter _key;
    private readonly Parameter _value;
    private readonly Rate? _decay;
    private readonly Rate? _write;
    private readonly Rate? _momentum;
    private readonly Parameter? _start;
    private readonly Parameter _readNorm;

    public AssociativeMemory(ParameterFactory make, string name, ModelConfiguration configuration, MemoryRule rule)
    {
        int dim = configuration.Dim;
        _rule = rule;
        _heads = configuration.Heads;
        _width = dim / _heads;
        double deviation = 1 / Math.Sqrt(dim);
        _query = make.Normal($"{name}.query", [dim, dim], deviation);
        _key = make.Normal($"{name}.key", [dim, dim], deviation);
        _value = make.Normal($"{name}.value", [dim, dim], deviation);
        // Momentum multiplies what a write comes to by 1/(1 − μ): Titans begins with 0.12/(1 − 0.5).
        if (rule != MemoryRule.Hebbian)
            _write = new Rate(make, $"{name}.write", dim, _heads, rule == MemoryRule.Titans ? -2 : 0);
        if (rule == MemoryRule.Titans)
        {
            _momentum = new Rate(make, $"{name}.momentum", dim, _heads, 0);
            // Not zero: what an empty memory answers has no direction to be normed.
            _start = make.Normal($"{name}.start", [_heads, _width, _width], 1 / Math.Sqrt(_width), decays: false);
        }

        if (configuration.Decay || rule == MemoryRule.Titans)
            _decay = new Rate(make, $"{name}.decay", dim, _heads, configuration.AlphaBias);
        _readNorm = make.Constant($"{name}.read_norm", [_width], 1);
    }

    public IEnumerable<Parameter> Parameters =>
        [_query, _key, _value, .. _write?.Parameters ?? [], .. _momentum?.Parameters ?? [], .. _start is null ? (Parameter[])[] : [_start], .. _decay?.Parameters ?? [], _readNorm];

    /// <summary>Whether there is a momentum memory beside the memory.</summary>
    public bool HasMomentum => _momentum is not null;

    /// <summary>The shape of the memory, and of the momentum: [B, H, D/H, D/H].</summary>
    public Shape Shape(int batch) => [batch, _heads, _width, _width];

    /// <summary>The memory that a context begins with, or the carried one; null is zero.</summary>
    public Variable? Begin(Tape tape, int batch, Tensor? carried) => (_start, carried) switch
    {
        (null, null) => null,
        (null, { } memory) => tape.Input(memory),
        ({ } start, null) => start.Repeat(tape, Shape(batch)),
        ({ } start, { } memory) => tape.UseFirstOrder(start, memory),
    };

    /// <summary>
    /// Writes x [B, T, D] token by token and answers each token's query after its write: normed reads [B, T, H, D/H], the
    /// memory and the momentum after the last token.
    /// </summary>
    public (Variable Reads, Variable S, Variable? P) Write(Tape tape, Variable x, Variable? s, Variable? p)
    {
        Variable k = Unit(tape, x, _key), v = Heads(tape, x, _value);
        Variable? decay = _decay?.Logit(tape, x);
        Variable? logAlpha = decay is null ? null : tape.Activate(Activation.LogSigmoid, decay);
        Variable? rate = _write?.Sigmoid(tape, x);
        // The delta rule erases what the decayed memory answers (Gated DeltaNet), Titans what the memory answers.
        Variable? erase = _rule == MemoryRule.Delta && decay is not null ? tape.Multiply(rate!, tape.Activate(Activation.Sigmoid, decay)) : rate;
        ScanResults results = tape.Scan(
            new ScanVariables(Unit(tape, x, _query), k, v, logAlpha, erase, _momentum?.Sigmoid(tape, x), rate, s, p),
            new ScanSettings(1, ScanRead.After, rate is null ? ScanWrite.Given : ScanWrite.Scaled, ScanSettings.DefaultChunk));
        return (Normed(tape, results.O), results.S, results.P);
    }

    /// <summary>What the memory answers to x [B, T, D] as it is, without a write: normed reads [B, T, H, D/H].</summary>
    public Variable Retrieve(Tape tape, Variable x, Variable s)
    {
        // A scan that writes zeros.
        Variable q = Unit(tape, x, _query), nothing = tape.Input(tape.Keep(tape.Device.Zeros(q.Shape)));
        return Normed(tape, tape.Scan(new ScanVariables(q, nothing, nothing, S0: s), new ScanSettings(1, ScanRead.Before, ScanWrite.Given, ScanSettings.DefaultChunk)).O);
    }

    private Variable Normed(Tape tape, Variable reads) => tape.Norm(NormKind.Rms, reads, tape.Use(_readNorm));

    private Variable Heads(Tape tape, Variable x, Parameter projection) =>
        tape.Reshape(tape.Linear(x, tape.Use(projection)), [x.Shape[0], x.Shape[1], _heads, _width]);

    private Variable Unit(Tape tape, Variable x, Parameter projection) =>
        tape.Norm(NormKind.L2, Heads(tape, x, projection));

    // A number for each token and head.
    private sealed class Rate(ParameterFactory make, string name, int dim, int heads, float bias)
    {
        private readonly Parameter _weight = make.Normal($"{name}.weight", [dim, heads], 1 / Math.Sqrt(dim));
        private readonly Parameter _bias = make.Constant($"{name}.bias", [heads], bias);

        public Parameter[] Parameters => [_weight, _bias];

        /// <summary>x W + b: [B, T, H].</summary>
        public Variable Logit(Tape tape, Variable x) => tape.Linear(x, tape.Use(_weight), tape.Use(_bias));

        public Variable Sigmoid(Tape tape, Variable x) => tape.Activate(Activation.Sigmoid, Logit(tape, x));
    }
}
