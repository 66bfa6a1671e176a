using System.Globalization;
using NestedLearning.Models.Learning;

namespace NestedLearning.CommandLine.Learn;

/// <summary>
/// A meta-learned initial state: linear functions that have something in common, a memory that the normalised delta rule
/// writes once an example, and the error on new inputs after a few examples.
/// </summary>
internal sealed class MetaTask : LearnTask
{
    private const int Dim = 8;
    private const int Batch = 32;
    private const int TrainedSupport = 4;
    private const int Queries = 16;
    private const float Noise = 0.1f;
    private const float LearningRate = 2e-2f;
    private static readonly int[] s_tested = [0, 1, 2, 4, 8, 16, 32];

    public override string Name => "meta";

    public override string Title => "a learned initial state against others after a few examples";

    public override int DefaultSteps => 500;

    public override IReadOnlyList<LearnTable> Run(LearnRun run)
    {
        float[] mean = Normal(run.Seed, 1, 0.7f), random = Normal(run.Seed, 2, 0.7f), zero = new float[Dim];
        (string Name, float[] Start, bool Learns, MetaGradient Order)[] jobs =
        [
            ("learned, second order", zero, true, MetaGradient.SecondOrder),
            ("learned, first order", zero, true, MetaGradient.FirstOrder),
            ("zero", zero, false, MetaGradient.SecondOrder),
            ("random", random, false, MetaGradient.SecondOrder),
        ];
        IReadOnlyList<LearnRow> learners = run.Each(jobs, job =>
        {
            using var learner = new LinearMemoryLearner(run.Device, job.Start, LearningRate, job.Learns);
            var trainer = new EpisodicTrainer<RegressionEpisode>(learner) { Order = job.Order };
            SequenceTraining.Train(trainer, learner.Levels, LearningRate, run.Steps, step =>
                Task(mean, TrainedSupport).Draw(run.Seed, step, Batch));
            double distance = Math.Sqrt(learner.Start.Value.ToArray().Zip(mean, (s, m) => (double)(s - m) * (s - m)).Sum());
            run.Say($"{job.Name}: the start is {distance:F3} from the tasks' mean");
            return new LearnRow(job.Name, [.. s_tested.Select(n => (double?)trainer.Evaluate(Test(run, mean, n))), distance]);
        });
        return
        [
            new LearnTable(
                $"squared error on new inputs by number of examples, noise {Noise * Noise:F3}; D = {Dim}, one pass of the delta rule, " +
                $"outer loop trained with {TrainedSupport} examples",
                [.. s_tested.Select(n => n.ToString(CultureInfo.InvariantCulture)), "start to mean"],
                [
                    .. learners,
                    new LearnRow("ridge regression around the mean",
                        [.. s_tested.Select(n => (double?)Ridge(Test(run, mean, n), mean)), 0]),
                    new LearnRow("ridge regression around zero", [.. s_tested.Select(n => (double?)Ridge(Test(run, mean, n), zero)), null]),
                ]),
        ];
    }

    private static LinearRegression Task(float[] mean, int support) => new(Dim, support + Queries, Noise, support, mean);

    private static RegressionEpisode Test(LearnRun run, float[] mean, int support) =>
        Task(mean, support).Draw(run.Seed + SequenceTraining.TestSeed, 0, 16 * Batch);

    private static double Ridge(RegressionEpisode episode, float[] center)
    {
        double sum = 0;
        for (int b = 0; b < episode.Batch; b++)
        {
            // Of the posterior: the prior's precision D against an example's 1/σ².
            var ridge = new RidgeRegression(Noise * Noise * Dim, center);
            for (int t = 0; t < episode.Time; t++)
            {
                int i = b * episode.Time + t;
                ReadOnlySpan<float> x = episode.X.AsSpan(i * Dim, Dim);
                if (t < episode.Support)
                    ridge.Add(x, episode.Y[i]);
                else
                    sum += Math.Pow(episode.Y[i] - ridge.Predict(x), 2);
            }
        }

        return sum / (episode.Batch * (episode.Time - episode.Support));
    }

    private static float[] Normal(ulong seed, ulong stream, float deviation)
    {
        float[] values = new float[Dim];
        new CounterRandom(seed, stream).FillNormal(values, deviation);
        return values;
    }
}
