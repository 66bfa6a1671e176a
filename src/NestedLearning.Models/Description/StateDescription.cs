namespace NestedLearning.Models;

/// <summary>What one of a mixer's fast memories is; its size is that of the named parts of the state.</summary>
/// <param name="Name">The name.</param>
/// <param name="Parts">The parts of the state it consists of.</param>
/// <param name="Memory">What the memory is.</param>
/// <param name="ContextFlow">What it reads.</param>
/// <param name="Rule">The equation it is written by.</param>
/// <param name="Period">Tokens from one write to the next.</param>
internal sealed record StateDescription(string Name, IReadOnlyList<string> Parts, string Memory, string ContextFlow, string Rule,
    int Period = 1);
