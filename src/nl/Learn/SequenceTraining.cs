using NestedLearning.Models;
using NestedLearning.Models.Learning;

namespace NestedLearning.CommandLine.Learn;

/// <summary>A model that takes part in a task.</summary>
internal sealed record Candidate(string Name, ModelConfiguration Configuration);

/// <summary>A candidate as trained with the learning rate that served it best.</summary>
/// <param name="Name">The candidate.</param>
/// <param name="Rate">The chosen learning rate.</param>
/// <param name="Parameters">The number of its parameters.</param>
/// <param name="Scores">What was measured of it, on data it was not trained on.</param>
internal sealed record TrainedCandidate(string Name, float Rate, long Parameters, double[] Scores)
{
    /// <summary>The scores, the rate and the number of parameters as a line of a table.</summary>
    public LearnRow ToRow() => new(Name, [.. Scores.Select(s => (double?)s), Rate, Parameters]);
}

/// <summary>
/// Trains models on sequences that are each a task of their own. Every candidate has the same number of steps, the same data
/// and the same small grid of learning rates; of its runs the one with the least loss on fresh data of the training
/// distribution counts.
/// </summary>
internal sealed class SequenceTraining(LearnRun run, ISequenceTask task, int steps)
{
    // Seeds of data no run was trained on.
    public const ulong ValidationSeed = 1UL << 40;
    public const ulong TestSeed = 1UL << 41;

    public static IReadOnlyList<float> Rates { get; } = [2e-3f, 8e-3f];

    public int Batch { get; init; } = 32;

    /// <summary>The shape that every candidate gets: width, heads, blocks, one level of hidden units committed at every step.</summary>
    public static ModelConfiguration Shape(ModelConfiguration preset, int dim, int heads, int blocks) => preset with
    {
        Dim = dim,
        Heads = heads,
        Blocks = blocks,
        ContextLength = 0,
        ProjectionLevel = 0,
        WarmupCommits = 20,
        Levels = [new("outer", 1, Rates[0], 2 * dim)],
    };

    /// <summary>Trains every candidate with every rate and measures each candidate's best.</summary>
    public IReadOnlyList<TrainedCandidate> Run(IReadOnlyList<Candidate> candidates, Func<SequenceLearner, double[]> measure) =>
        [.. run.BestOf(candidates, Rates, (candidate, rate) => Train(candidate, rate, measure), r => r.Validation).Select(r => r.Trained)];

    /// <summary>The mean accuracy over fresh episodes of a task.</summary>
    public double Accuracy(SequenceLearner learner, ISequenceTask test, int batches = 4) =>
        Enumerable.Range(0, batches).Average(i => learner.Accuracy(test.Draw(run.Seed + TestSeed, (ulong)i, Batch)));

    /// <summary>
    /// Steps over fresh episodes; the learning rate is constant, then falls to nothing over the second half. After each step
    /// <paramref name="stepped"/> is told how many there were.
    /// </summary>
    /// <returns>Whether every step was finite; it stops at the first that is not.</returns>
    public static bool Train<TEpisode>(EpisodicTrainer<TEpisode> trainer, LevelSystem levels, float rate, int steps, Func<ulong,
        TEpisode> draw, Action<int>? stepped = null)
    {
        try
        {
            for (int step = 0; step < steps; step++)
            {
                foreach (Level level in levels.Levels)
                    level.LearningRate = rate * Math.Min(1, 2 * (1 - (float)step / steps));
                trainer.Step(draw((ulong)step));
                stepped?.Invoke(step + 1);
            }

            return true;
        }
        catch (NotFiniteNumberException)
        {
            // A rate that is too high is an answer, too.
            return false;
        }
    }

    private (double Validation, TrainedCandidate Trained) Train(Candidate candidate, float rate, Func<SequenceLearner, double[]> measure)
    {
        using var model = new SequenceModel(run.Device, candidate.Configuration with { Vocabulary = task.Vocabulary, Seed = run.Seed });
        var learner = new SequenceLearner(model);
        var trainer = new EpisodicTrainer<SequenceEpisode>(learner);
        bool finite = Train(trainer, learner.Levels, rate, steps, step => task.Draw(run.Seed, step, Batch));
        double validation = finite ? Enumerable.Range(0, 8)
            .Average(i => trainer.Evaluate(task.Draw(run.Seed + ValidationSeed, (ulong)i, Batch))) : double.PositiveInfinity;
        run.Say($"{candidate.Name}, rate {Readable.Number(rate)}: loss {validation:F4}");
        return (validation, new TrainedCandidate(candidate.Name, rate, model.ParameterCount, measure(learner)));
    }
}
