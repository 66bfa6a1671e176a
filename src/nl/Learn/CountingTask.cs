using NestedLearning.Models;
using NestedLearning.Models.Learning;

namespace NestedLearning.CommandLine.Learn;

/// <summary>State tracking: a cyclic group of two or more states, tested on longer strings than were trained on.</summary>
internal sealed class CountingTask(string name, string title, int modulus) : LearnTask
{
    private const int TrainedLength = 32;
    private static readonly int[] s_tested = [32, 64, 128, 256];

    public override string Name => name;

    public override string Title => title;

    public override int DefaultSteps => 600;

    public override IReadOnlyList<LearnTable> Run(LearnRun run)
    {
        var training = new SequenceTraining(run, new ModularCounting(modulus, TrainedLength), run.Steps);
        IReadOnlyList<TrainedCandidate> trained = training.Run(
            Learners.OfMemories(dim: 32, heads: 2, blocks: 2),
            learner => [.. s_tested.Select(length => training.Accuracy(learner, new ModularCounting(modulus, length)))]);
        return
        [
            new LearnTable(
                $"accuracy over all positions by length, trained on {TrainedLength}; chance {1.0 / modulus:F3}",
                [.. s_tested.Select(l => $"length {l}"), "rate", "parameters"],
                [.. trained.Select(t => t.ToRow())]),
        ];
    }
}
