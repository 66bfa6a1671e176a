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
    // Of a commit in a checkpoint.
    private const int Fields = 4;

    private readonly List<LevelCommit> _commits = [];

    /// <summary>The commits in the order they happened.</summary>
    public IReadOnlyList<LevelCommit> Commits => _commits;

    internal void Add(LevelCommit commit) => _commits.Add(commit);

    /// <summary>Takes these in place of those that are there.</summary>
    internal void Replace(IEnumerable<LevelCommit> commits)
    {
        _commits.Clear();
        _commits.AddRange(commits);
    }

    internal void Save(SafetensorsFile file, string name) => file.Add(name, [.. _commits.SelectMany(c => (long[])
        [c.Level, c.Step, BitConverter.DoubleToInt64Bits(c.Change), BitConverter.DoubleToInt64Bits(c.Norm)])]);

    /// <summary>The commits that <see cref="Save"/> wrote, of so many levels.</summary>
    /// <exception cref="CheckpointException">They are missing, cut, or of a level that there is not.</exception>
    internal static LevelCommit[] Read(SafetensorsFile file, string name, int levels)
    {
        ReadOnlySpan<long> numbers = file.Integers(name, file.ShapeOf(name).ElementCount);
        if (numbers.Length % Fields != 0)
            throw new CheckpointException($"'{name}' has {numbers.Length} numbers, expected a multiple of {Fields}.");
        var commits = new LevelCommit[numbers.Length / Fields];
        for (int i = 0; i < commits.Length; i++)
        {
            ReadOnlySpan<long> commit = numbers.Slice(i * Fields, Fields);
            if (commit[0] < 0 || commit[0] >= levels)
                throw new CheckpointException($"'{name}' names level {commit[0]}, expected 0 to {levels - 1}.");
            commits[i] = new LevelCommit((int)commit[0], commit[1], BitConverter.Int64BitsToDouble(commit[2]),
                BitConverter.Int64BitsToDouble(commit[3]));
        }

        return commits;
    }

    /// <summary>Forgets all commits.</summary>
    public void Clear() => _commits.Clear();
}
