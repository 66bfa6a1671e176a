namespace NestedLearning.Models;

/// <summary>Softmax attention over the whole context.</summary>
internal sealed class AttentionMixer : ITokenMixer
{
    private readonly MixerInput _input;
    private readonly SoftmaxAttention _projections;
    private readonly SegmentedAttention _attention;
    private readonly MixerOutput _output;

    public AttentionMixer(ParameterFactory make, string name, ModelConfiguration configuration, double outputDeviation)
    {
        _input = new MixerInput(make, name, configuration);
        _projections = new SoftmaxAttention(make, name, configuration);
        _attention = new SegmentedAttention(_projections, segment: 0);
        _output = new MixerOutput(make, name, configuration, outputDeviation);
    }

    /// <inheritdoc/>
    public IEnumerable<Parameter> Parameters => [.. _input.Parameters, .. _projections.Parameters, _output.Parameter];

    /// <inheritdoc/>
    public IReadOnlyList<StatePart> State => [.. _input.State, .. _attention.State];

    /// <inheritdoc/>
    public IEnumerable<StateDescription> Describe() => [.. _input.Describe(), _attention.Describe()];

    /// <inheritdoc/>
    public (Variable Y, MixerState Next) Forward(Tape tape, Variable x, MixerState state)
    {
        (Variable mixed, (string, Tensor)[] next) = _input.Forward(tape, x, state);
        (Variable reads, IEnumerable<(string, Tensor)> cache) = _attention.Forward(tape, mixed, state);
        return (_output.Forward(tape, reads, x), state.After(x.Shape[1], [.. next, .. cache]));
    }
}
