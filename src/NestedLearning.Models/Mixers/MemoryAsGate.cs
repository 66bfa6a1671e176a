namespace NestedLearning.Models;

/// <summary>
/// Titans' memory as gate (Titans 4.2): attention to the last tokens and the memory read the same input, and the memory
/// gates: o = norm(Attention([p, x])) ∘ sigmoid(norm(M(x))).
/// </summary>
internal sealed class MemoryAsGate : ITokenMixer
{
    private readonly MixerInput _input;
    private readonly SoftmaxAttention _projections;
    private readonly SegmentedAttention _attention;
    private readonly AssociativeMemory _memory;
    private readonly Parameter _readNorm;
    private readonly MixerOutput _output;

    public MemoryAsGate(ParameterFactory make, string name, ModelConfiguration configuration, double outputDeviation)
    {
        _input = new MixerInput(make, name, configuration);
        _projections = new SoftmaxAttention(make, $"{name}.attention", configuration, configuration.PersistentTokens);
        _attention = new SegmentedAttention(_projections, configuration.AttentionSegment);
        _memory = new AssociativeMemory(make, $"{name}.memory", configuration, MemoryRule.Titans);
        _readNorm = make.Constant($"{name}.read_norm", [configuration.Dim / configuration.Heads], 1);
        _output = new MixerOutput(make, name, configuration, outputDeviation);
    }

    /// <inheritdoc/>
    public IEnumerable<Parameter> Parameters =>
        [.. _input.Parameters, .. _projections.Parameters, .. _memory.Parameters, _readNorm, _output.Parameter];

    /// <inheritdoc/>
    public IReadOnlyList<StatePart> State => [.. _input.State, .. _attention.State, .. MemoryMixer.MemoryState(_memory)];

    /// <inheritdoc/>
    public IEnumerable<StateDescription> Describe() => [.. _input.Describe(), _attention.Describe(), MemoryMixer.DescribeMemory(_memory)];

    /// <inheritdoc/>
    public (Variable Y, MixerState Next) Forward(Tape tape, Variable x, MixerState state)
    {
        (Variable mixed, (string, Tensor)[] next) = _input.Forward(tape, x, state);
        (Variable attended, IEnumerable<(string, Tensor)> cache) = _attention.Forward(tape, mixed, state);
        (Variable remembered, IEnumerable<(string, Tensor)> memory) = MemoryMixer.Write(tape, _memory, mixed, state);
        Variable gated = tape.Multiply(tape.Norm(NormKind.Rms, attended, tape.Use(_readNorm)),
            tape.Activate(Activation.Sigmoid, remembered));
        return (_output.Forward(tape, gated, x), state.After(x.Shape[1], [.. next, .. cache, .. memory]));
    }
}
