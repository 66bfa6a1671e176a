namespace NestedLearning.Models;

/// <summary>The memories of a layer that make keys, values, rates, decays and targets and write themselves (NL 83–93).</summary>
internal interface ISelfModifyingMemories
{
    /// <summary>Their learned starts.</summary>
    IEnumerable<Parameter> Parameters { get; }

    /// <summary>The memories, and those at the start of their unfinished chunks.</summary>
    IEnumerable<StatePart> State { get; }

    /// <summary>What they are, in words.</summary>
    IEnumerable<StateDescription> Describe();

    /// <summary>
    /// Reads of M_mem [B, T, H, D] for inputs and queries [B, T, H, D], and what the next state holds. Queries are null
    /// exactly where a memory makes them.
    /// </summary>
    (Variable Reads, IEnumerable<(string Name, Tensor Value)> Next) Forward(Tape tape, Variable x, Variable? queries, MixerState state);
}
