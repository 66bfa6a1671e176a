namespace NestedLearning.Models;

/// <summary>
/// Causal softmax attention with its projections: the memory that keeps every key and value and answers by the
/// non-parametric solution of the regression, as in NL's view of it. Persistent tokens, if any, are learned and seen by
/// every query; they have no position.
/// </summary>
internal sealed class SoftmaxAttention
{
    /// <summary>The rule by which a cache is written and read.</summary>
    public const string Rule = "K ← [K; k], V ← [V; v], o = softmax(q Kᵀ/√d) V";

    private readonly int _heads;
    private readonly int _width;
    private readonly RotaryEmbedding? _rotary;
    private readonly HeadProjections _projections;
    private readonly Parameter? _persistent;

    public SoftmaxAttention(ParameterFactory make, string name, ModelConfiguration configuration, int persistentTokens = 0)
    {
        _heads = configuration.Heads;
        _width = configuration.Dim / _heads;
        _rotary = configuration.RotaryBase > 0 ? new RotaryEmbedding(_width, configuration.RotaryBase) : null;
        _projections = new HeadProjections(make, name, configuration);
        if (persistentTokens > 0)
            _persistent = make.Normal($"{name}.persistent", [persistentTokens, configuration.Dim], 1);
    }

    public IEnumerable<Parameter> Parameters => _persistent is null ? _projections.Parameters : [.. _projections.Parameters, _persistent];

    /// <summary>The shape of so many tokens' keys, and of their values: [B, tokens, H, D/H].</summary>
    public Shape Shape(int batch, int tokens) => [batch, tokens, _heads, _width];

    /// <summary>
    /// Reads [B, T, H, D/H] of x [B, T, D], each token seeing the persistent ones, those before it in the cache and itself,
    /// and the cache with x added.
    /// </summary>
    /// <param name="tape">What records it.</param>
    /// <param name="x">The tokens.</param>
    /// <param name="cache">Keys and values of earlier tokens; null at the beginning.</param>
    /// <param name="position">The position of x's first token.</param>
    /// <param name="tokensPerPosition">How many neighbouring tokens share a position.</param>
    public (Variable Reads, KeyValues Cache) Forward(Tape tape, Variable x, KeyValues? cache, long position, int tokensPerPosition = 1)
    {
        Variable q = _projections.Query(tape, x), k = _projections.Key(tape, x), v = _projections.Value(tape, x);
        if (_rotary is not null)
        {
            Tensor table = _rotary.Table(tape, x.Shape[1], position, tokensPerPosition);
            (q, k) = (tape.Rotate(q, table), tape.Rotate(k, table));
        }

        var seen = new KeyValues(k, v);
        if (cache is not null)
            seen = cache.Then(tape, seen);
        KeyValues all = _persistent is null ? seen : Persistent(tape, _persistent, x.Shape[0]).Then(tape, seen);
        return (tape.Attention(q, all.Keys, all.Values, new AttentionSettings(1 / MathF.Sqrt(_width))), seen);
    }

    private KeyValues Persistent(Tape tape, Parameter persistent, int batch)
    {
        Variable tokens = tape.UseStart(persistent, [batch, .. persistent.Value.Shape.AsSpan()]);
        return new KeyValues(_projections.Key(tape, tokens), _projections.Value(tape, tokens));
    }
}

/// <summary>Keys and values of the same tokens, each [B, tokens, H, D/H].</summary>
internal sealed record KeyValues(Variable Keys, Variable Values)
{
    public int Count => Keys.Shape[1];

    public KeyValues Then(Tape tape, KeyValues later) =>
        new(tape.Append(Keys, later.Keys), tape.Append(Values, later.Values));

    public KeyValues Last(Tape tape, int count) =>
        new(tape.Tokens(Keys, Count - count, count), tape.Tokens(Values, Count - count, count));
}
