using NestedLearning.Models;
using NestedLearning.Models.Learning;

namespace NestedLearning.CommandLine.Learn;

/// <summary>Multi-query associative recall: what memories of equal size hold, by the rule they are written with.</summary>
internal sealed class RecallTask : LearnTask
{
    private const int Keys = 64;
    private const int Values = 16;
    private static readonly int[] s_trained = [4, 8, 16];
    private static readonly int[] s_tested = [4, 8, 16, 24];

    public override string Name => "recall";

    public override string Title => "keys answered with the values they were paired with";

    public override int DefaultSteps => 600;

    public override IReadOnlyList<LearnTable> Run(LearnRun run)
    {
        var training = new SequenceTraining(run, new AssociativeRecall(Keys, Values, s_trained), run.Steps);
        IReadOnlyList<TrainedCandidate> trained = training.Run(
            [.. Learners.OfMemories(dim: 32, heads: 2, blocks: 2)],
            learner => [.. s_tested.Select(pairs => training.Accuracy(learner, new AssociativeRecall(Keys, Values, pairs)))]);
        return
        [
            new LearnTable(
                $"accuracy by number of pairs, trained on {string.Join(", ", s_trained)}; {Keys} keys, {Values} values, chance {1.0 / Values:F3}; memories of two heads of 16x16 in each of two blocks",
                [.. s_tested.Select(p => $"{p} pairs"), "rate", "parameters"],
                [.. trained.Select(t => new LearnRow(t.Name, [.. t.Scores.Select(s => (double?)s), t.Rate, t.Parameters]))]),
        ];
    }
}
