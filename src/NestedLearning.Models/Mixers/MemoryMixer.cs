namespace NestedLearning.Models;

/// <summary>An <see cref="AssociativeMemory"/> as a mixer: linear attention, DeltaNet, Titans' long-term memory.</summary>
internal sealed class MemoryMixer : ITokenMixer
{
    private const string Memory = "memory", Momentum = "momentum";
    private readonly MixerInput _input;
    private readonly AssociativeMemory _memory;
    private readonly MixerOutput _output;

    public MemoryMixer(ParameterFactory make, string name, ModelConfiguration configuration, MemoryRule rule, double outputDeviation)
    {
        _input = new MixerInput(make, name, configuration);
        _memory = new AssociativeMemory(make, name, configuration, rule);
        _output = new MixerOutput(make, name, configuration, outputDeviation);
    }

    /// <inheritdoc/>
    public IEnumerable<Parameter> Parameters => [.. _input.Parameters, .. _memory.Parameters, _output.Parameter];

    /// <inheritdoc/>
    public IReadOnlyList<StatePart> State => [.. _input.State, .. MemoryState(_memory)];

    /// <inheritdoc/>
    public IEnumerable<StateDescription> Describe() => [.. _input.Describe(), DescribeMemory(_memory)];

    /// <inheritdoc/>
    public (Variable Y, MixerState Next) Forward(Tape tape, Variable x, MixerState state)
    {
        (Variable mixed, (string, Tensor)[] next) = _input.Forward(tape, x, state);
        (Variable reads, IEnumerable<(string, Tensor)> memory) = Write(tape, _memory, mixed, state);
        return (_output.Forward(tape, reads, x), state.After(x.Shape[1], [.. next, .. memory]));
    }

    /// <summary>What a mixer with such a memory carries.</summary>
    public static IEnumerable<StatePart> MemoryState(AssociativeMemory memory)
    {
        Shape? Written(int batch, long tokens) => tokens > 0 ? memory.Shape(batch) : null;
        return memory.HasMomentum ? [new(Memory, Written), new(Momentum, Written)] : [new(Memory, Written)];
    }

    public static StateDescription DescribeMemory(AssociativeMemory memory)
    {
        (string what, string rule) = memory.Describe();
        return new StateDescription("associative memory", memory.HasMomentum ? [Memory, Momentum] : [Memory], what,
            "keys and values of tokens", rule);
    }

    /// <summary>Writes into the carried memory; the reads and what it is then.</summary>
    public static (Variable Reads, IEnumerable<(string, Tensor)> Next) Write(Tape tape, AssociativeMemory memory, Variable x,
        MixerState state)
    {
        Variable? p = memory.HasMomentum && state[Momentum] is { } momentum ? tape.Input(momentum) : null;
        (Variable reads, Variable s, Variable? nextP) = memory.Write(tape, x, memory.Begin(tape, x.Shape[0], state[Memory]), p);
        return (reads, nextP is null ? [(Memory, s.Value)] : [(Memory, s.Value), (Momentum, nextP.Value)]);
    }
}
