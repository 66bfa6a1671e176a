namespace NestedLearning.Models;

/// <summary>
/// Titans' memory as layer (Titans 4.3): attention to the last tokens over what the memory answers, o = Attention([p, norm(M(x))]).
/// </summary>
internal sealed class MemoryAsLayer : ITokenMixer
{
    private readonly MixerInput _input;
    private readonly AssociativeMemory _memory;
    private readonly SoftmaxAttention _projections;
    private readonly SegmentedAttention _attention;
    private readonly MixerOutput _output;

    public MemoryAsLayer(ParameterFactory make, string name, ModelConfiguration configuration, double outputDeviation)
    {
        _input = new MixerInput(make, name, configuration);
        _memory = new AssociativeMemory(make, $"{name}.memory", configuration, MemoryRule.Titans);
        _projections = new SoftmaxAttention(make, $"{name}.attention", configuration, configuration.PersistentTokens);
        _attention = new SegmentedAttention(_projections, configuration.AttentionSegment);
        _output = new MixerOutput(make, name, configuration, outputDeviation);
    }

    /// <inheritdoc/>
    public IEnumerable<Parameter> Parameters =>
        [.. _input.Parameters, .. _memory.Parameters, .. _projections.Parameters, _output.Parameter];

    /// <inheritdoc/>
    public IReadOnlyList<StatePart> State => [.. _input.State, .. MemoryMixer.MemoryState(_memory), .. _attention.State];

    /// <inheritdoc/>
    public IEnumerable<StateDescription> Describe() => [.. _input.Describe(), MemoryMixer.DescribeMemory(_memory), _attention.Describe()];

    /// <inheritdoc/>
    public (Variable Y, MixerState Next) Forward(Tape tape, Variable x, MixerState state)
    {
        (Variable mixed, (string, Tensor)[] next) = _input.Forward(tape, x, state);
        (Variable remembered, IEnumerable<(string, Tensor)> memory) = MemoryMixer.Write(tape, _memory, mixed, state);
        (Variable attended, IEnumerable<(string, Tensor)> cache) = _attention.Forward(tape, tape.Reshape(remembered, x.Shape), state);
        return (_output.Forward(tape, attended, x), state.After(x.Shape[1], [.. next, .. memory, .. cache]));
    }
}
