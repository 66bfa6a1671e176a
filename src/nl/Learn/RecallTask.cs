using NestedLearning.Models;
using NestedLearning.Models.Learning;

namespace NestedLearning.CommandLine.Learn;

/// <summary>Multi-query associative recall: what memories of equal size hold, by the rule they are written with.</summary>
internal sealed class RecallTask : LearnTask
{
    private const int Keys = 64;
    private const int Values = 16;
    private const int Writes = 3;
    private static readonly int[] s_pairs = [4, 8, 16];
    private static readonly int[] s_testedPairs = [4, 8, 16, 24];
    private static readonly int[] s_rewritten = [4, 8];

    public override string Name => "recall";

    public override string Title => "keys answered with the values they were paired with";

    public override int DefaultSteps => 600;

    public override IReadOnlyList<LearnTable> Run(LearnRun run) =>
    [
        Table(run, "every key written once", writes: 1, s_pairs, s_testedPairs),
        Table(run, $"every key written {Writes} times, the last counts", Writes, s_rewritten, s_rewritten),
    ];

    private static LearnTable Table(LearnRun run, string what, int writes, int[] trained, int[] tested)
    {
        AssociativeRecall Task(params int[] pairs) => new(Keys, Values, pairs) { Writes = writes };
        var training = new SequenceTraining(run, Task(trained), run.Steps);
        IReadOnlyList<TrainedCandidate> results = training.Run(
            Learners.OfMemories(dim: 32, heads: 2, blocks: 2), learner =>
            [.. tested.Select(pairs => training.Accuracy(learner, Task(pairs)))]);
        return new LearnTable(
            $"{what}: accuracy by number of keys, trained on {string.Join(", ", trained)}; {Keys} keys, {Values} values, chance " +
            $"{1.0 / Values:F3}; two blocks, two heads of 16x16",
            [.. tested.Select(p => $"{p} keys"), "rate", "parameters"],
            [.. results.Select(r => r.ToRow())]);
    }
}
