namespace NestedLearning.Models;

/// <summary>
/// x + SelfModifyingTitans(norm x) (docs/specification.md, section 6): a causal convolution and an input projection, then for each head
/// memories that make their own keys, values, rates, decays and targets, then an output projection.
/// </summary>
internal sealed class SelfModifyingTitans : ITokenMixer
{
    private readonly int _heads;
    private readonly MixerInput _before;
    private readonly Parameter _input;
    private readonly Parameter? _query;
    private readonly ISelfModifyingMemories _memories;
    private readonly Parameter _readNorm;
    private readonly MixerOutput _after;

    public SelfModifyingTitans(ParameterFactory make, string name, ModelConfiguration configuration, double outputDeviation)
    {
        int dim = configuration.Dim, width = dim / configuration.Heads;
        SelfModifyingOptions options = configuration.SelfModifying;
        var settings = new SelfModifyingSettings(
            configuration.MemoryChunk, configuration.Objective, options.Read, configuration.EtaScale, configuration.EtaBias,
            configuration.AlphaBias, NormalizeValues: true)
        {
            ExactGradient = options.ExactGradient,
        };
        double deviation = 1 / Math.Sqrt(dim);
        _heads = configuration.Heads;
        _before = new MixerInput(make, name, configuration);
        _input = make.Normal($"{name}.input", [dim, dim], deviation);
        if (options.Query is null)
            _query = make.Normal($"{name}.query", [dim, dim], deviation);
        _memories = options.IsFused(configuration.MemoryChunk)
            ? new FusedMemories(make, name, _heads, width, settings)
            : new ComposedMemories(make, name, _heads, width, settings, options);
        _readNorm = make.Constant($"{name}.read_norm", [width], 1);
        _after = new MixerOutput(make, name, configuration, outputDeviation);
    }

    /// <inheritdoc/>
    public IEnumerable<Parameter> Parameters =>
        [.. _before.Parameters, _input, .. _query is null ? Array.Empty<Parameter>() : [_query], .. _memories.Parameters, _readNorm,
        _after.Parameter];

    /// <inheritdoc/>
    public IReadOnlyList<StatePart> State => [.. _memories.State, .. _before.State];

    /// <inheritdoc/>
    public IEnumerable<StateDescription> Describe() => [.. _before.Describe(), .. _memories.Describe()];

    /// <inheritdoc/>
    public (Variable Y, MixerState Next) Forward(Tape tape, Variable x, MixerState state)
    {
        (Variable mixed, (string, Tensor)[] next) = _before.Forward(tape, x, state);
        // Inputs of length one: values and targets are products of memories with them, and would feed on their own
        // growth if the memories' inputs were longer than the keys.
        (Variable reads, IEnumerable<(string, Tensor)> memories) = _memories.Forward(tape, Heads(tape, mixed, _input),
            _query is null ? null : Heads(tape, mixed, _query), state);
        Variable normed = tape.Norm(NormKind.Rms, reads, tape.Use(_readNorm));
        return (_after.Forward(tape, normed, x), state.After(x.Shape[1], [.. memories, .. next]));
    }

    // [B, T, H, D/H], of length one for each head.
    private Variable Heads(Tape tape, Variable x, Parameter projection)
    {
        Variable split = tape.Reshape(tape.Linear(x, tape.Use(projection)), [x.Shape[0], x.Shape[1], _heads, x.Shape[2] / _heads]);
        return tape.Norm(NormKind.L2, split, epsilon: SelfModifyingSettings.NormEpsilon);
    }
}
