using System.Globalization;
using NestedLearning.Models.Learning;

namespace NestedLearning.CommandLine.Learn;

/// <summary>Linear regression learned in context, against what can be known in closed form.</summary>
internal sealed class RegressionTask : LearnTask
{
    private const int Dim = 8;
    private const int Examples = 32;
    private const int Batch = 32;
    private const float Noise = 0.2f;
    private static readonly int[] s_shown = [0, 1, 2, 4, 8, 12, 16, 24, 31];

    public override string Name => "regression";

    public override string Title => "linear functions learned in context";

    public override int DefaultSteps => 600;

    public override IReadOnlyList<LearnTable> Run(LearnRun run)
    {
        var task = new LinearRegression(Dim, Examples, Noise);
        IReadOnlyList<Candidate> candidates = Learners.OfMemories(dim: 32, heads: 2, blocks: 2);
        RegressionEpisode test = task.Draw(run.Seed + SequenceTraining.TestSeed, 0, 16 * Batch);
        IEnumerable<LearnRow> learners = run.BestOf(candidates, SequenceTraining.Rates, (candidate, rate) =>
            Train(run, task, candidate, rate, test), r => r.Validation)
            .Select(r => r.Row);
        return
        [
            new LearnTable(
                $"squared error of the next answer by number of examples, noise {Noise * Noise:F3}; D = {Dim}",
                [.. s_shown.Select(n => n.ToString(CultureInfo.InvariantCulture)), "rate", "parameters"],
                [
                    .. learners,
                    Row("ridge regression (the optimum)", test, Ridge(test, Noise * Noise * Dim), null, null),
                    Row("least squares", test, Ridge(test, 1e-6), null, null),
                ]),
        ];
    }

    private static (double Validation, LearnRow Row) Train(LearnRun run, LinearRegression task, Candidate candidate, float rate,
        RegressionEpisode test)
    {
        using var learner = new RegressionLearner(run.Device, candidate.Configuration with { Vocabulary = 1, Seed = run.Seed }, Dim);
        var trainer = new EpisodicTrainer<RegressionEpisode>(learner);
        bool finite = SequenceTraining.Train(trainer, learner.Levels, rate, run.Steps, step => task.Draw(run.Seed, step, Batch));
        double validation = finite ? trainer.Evaluate(task.Draw(run.Seed + SequenceTraining.ValidationSeed, 0, 8 * Batch))
            : double.PositiveInfinity;
        run.Say($"{candidate.Name}, rate {Readable.Number(rate)}: squared error {validation:F4}");
        double[] predictions = Array.ConvertAll(learner.PredictEach(test), p => (double)p);
        return (validation, Row(candidate.Name, test, predictions, rate, learner.ParameterCount));
    }

    private static LearnRow Row(string name, RegressionEpisode test, double[] predictions, double? rate, double? parameters)
    {
        double?[] errors = [.. s_shown.Select(n =>
            (double?)Enumerable.Range(0, test.Batch).Average(b => Math.Pow(predictions[b * Examples + n] - test.Y[b * Examples + n], 2)))];
        return new LearnRow(name, [.. errors, rate, parameters]);
    }

    private static double[] Ridge(RegressionEpisode episode, double lambda)
    {
        double[] predictions = new double[episode.Y.Length];
        for (int b = 0; b < episode.Batch; b++)
        {
            var ridge = new RidgeRegression(lambda, new float[Dim]);
            for (int i = b * Examples; i < (b + 1) * Examples; i++)
            {
                ReadOnlySpan<float> x = episode.X.AsSpan(i * Dim, Dim);
                predictions[i] = ridge.Predict(x);
                ridge.Add(x, episode.Y[i]);
            }
        }

        return predictions;
    }
}
