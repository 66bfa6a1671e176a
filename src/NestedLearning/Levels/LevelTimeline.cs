namespace NestedLearning;

/// <summary>One commit of one level.</summary>
/// <param name="Level">The level's index, 0 the fastest.</param>
/// <param name="Step">The step of the level's context flow at which it committed, counted from 1.</param>
/// <param name="Change">‖θ_new − θ_old‖₂ over all the level's parameters.</param>
/// <param name="Norm">‖θ_old‖₂, to set the change against.</param>
public readonly record struct LevelCommit(int Level, long Step, double Change, double Norm);

/// <summary>Which level committed when, and how large the change was.</summary>
public sealed class LevelTimeline
{
    private readonly List<LevelCommit> _commits = [];

    /// <summary>The commits in the order they happened.</summary>
    public IReadOnlyList<LevelCommit> Commits => _commits;

    internal void Add(LevelCommit commit) => _commits.Add(commit);

    /// <summary>Forgets all commits.</summary>
    public void Clear() => _commits.Clear();
}
