using NestedLearning.Models.Learning;
using Xunit;

namespace NestedLearning.Models.Tests.Learning;

/// <summary>
/// Short versions of what <c>nl learn</c> shows, with seeds fixed and margins wide enough for any machine's rounding. What is
/// asserted of a rule that fails is what it cannot do, not what it has not yet learned.
/// </summary>
public sealed class LearningClaimsTests : IDisposable
{
    private readonly Device _device = Device.Open();

    /// <summary>A memory that only adds cannot tell the last of a key's values from the ones before it.</summary>
    [Fact]
    public void Recall_DeltaRuleReplaces_WhereLinearAttentionAdds()
    {
        var task = new AssociativeRecall(16, 8, 4) { Writes = 3 };
        double delta = Accuracy(ModelConfiguration.DeltaNet, task, task, steps: 300);
        double linear = Accuracy(ModelConfiguration.LinearAttention, task, task, steps: 300);
        Assert.True(delta > 0.95, $"The delta rule recalls {delta:P1}.");
        Assert.True(linear < 0.6, $"Linear attention recalls {linear:P1}.");
    }

    /// <summary>
    /// Parity turns with every one: only with an eigenvalue of −1 does a memory follow it beyond the lengths it was trained on.
    /// </summary>
    [Fact]
    public void Parity_NeedsNegativeEigenvalues()
    {
        ModularCounting trained = new(2, 32), tested = new(2, 96);
        double negative = Accuracy(ModelConfiguration.DeltaNet with { NegativeEigenvalues = true }, trained, tested, steps: 400);
        double positive = Accuracy(ModelConfiguration.DeltaNet, trained, tested, steps: 400);
        Assert.True(negative > 0.98, $"With rates up to 2: {negative:P1}.");
        Assert.True(positive < 0.8, $"With rates up to 1: {positive:P1}.");
    }

    /// <summary>Where tasks have something in common, a learned start has it before the first example.</summary>
    [Theory]
    [InlineData(MetaGradient.SecondOrder)]
    [InlineData(MetaGradient.FirstOrder)]
    public void Meta_ALearnedStartIsWhatTasksHaveInCommon(MetaGradient order)
    {
        float[] mean = [1, -0.5f, 0.8f, -1.2f], zero = new float[4];
        using LinearMemoryLearner learned = new(_device, zero, 2e-2f), fixedAtZero = new(_device, zero, 2e-2f, learnsStart: false);
        var task = new LinearRegression(4, 10, noise: 0.1f, support: 2, mean);
        EpisodicTrainer<RegressionEpisode> trainer = new(learned) { Order = order }, baseline = new(fixedAtZero) { Order = order };
        for (ulong step = 0; step < 300; step++)
        {
            RegressionEpisode episode = task.Draw(1, step, 16);
            trainer.Step(episode);
            baseline.Step(episode);
        }

        RegressionEpisode test = task.Draw(2, 0, 256);
        Assert.All(learned.Start.Value.ToArray().Zip(mean), p => Assert.Equal(p.Second, p.First, 0.2));
        Assert.All(fixedAtZero.Start.Value.ToArray(), s => Assert.Equal(0, s));
        double learnedLoss = trainer.Evaluate(test), zeroLoss = baseline.Evaluate(test);
        Assert.True(learnedLoss < 0.6 * zeroLoss, $"From the learned start {learnedLoss:F3}, from zero {zeroLoss:F3}.");
    }

    /// <summary>A trained memory is far better than no memory, and never better than what can be known.</summary>
    [Fact]
    public void Regression_IsLearnedInContext_WithinTheOptimum()
    {
        const int Dim = 4, Time = 16;
        var task = new LinearRegression(Dim, Time, noise: 0.2f);
        using var learner = new RegressionLearner(_device, Shape(ModelConfiguration.DeltaNet, 1), Dim);
        var trainer = new EpisodicTrainer<RegressionEpisode>(learner);
        for (ulong step = 0; step < 400; step++)
            trainer.Step(task.Draw(1, step, 32));
        RegressionEpisode test = task.Draw(2, 0, 512);
        float[] predictions = learner.PredictEach(test);
        double trained = 0, nothing = 0, optimum = 0;
        for (int b = 0; b < test.Batch; b++)
        {
            var ridge = new RidgeRegression(0.2 * 0.2 * Dim, new float[Dim]);
            for (int i = b * Time; i < (b + 1) * Time; i++)
            {
                ReadOnlySpan<float> x = test.X.AsSpan(i * Dim, Dim);
                if (i - b * Time >= Time / 2)
                {
                    trained += Math.Pow(predictions[i] - test.Y[i], 2);
                    nothing += Math.Pow(test.Y[i], 2);
                    optimum += Math.Pow(ridge.Predict(x) - test.Y[i], 2);
                }

                ridge.Add(x, test.Y[i]);
            }
        }

        Assert.True(trained < 0.6 * nothing, $"Errors: trained {trained:F0}, of the answer zero {nothing:F0}.");
        Assert.True(trained > 0.97 * optimum, $"Errors: trained {trained:F0}, optimum {optimum:F0}.");
    }

    public void Dispose() => _device.Dispose();

    private static ModelConfiguration Shape(ModelConfiguration preset, int vocabulary) => preset with
    {
        Vocabulary = vocabulary,
        Dim = 32,
        Heads = 2,
        Blocks = 2,
        ContextLength = 0,
        ProjectionLevel = 0,
        Levels = [new("outer", 1, 8e-3f, 64)],
    };

    private double Accuracy(ModelConfiguration preset, ISequenceTask trained, ISequenceTask tested, int steps)
    {
        using var model = new SequenceModel(_device, Shape(preset, trained.Vocabulary));
        var learner = new SequenceLearner(model);
        var trainer = new EpisodicTrainer<SequenceEpisode>(learner);
        for (ulong step = 0; step < (ulong)steps; step++)
            trainer.Step(trained.Draw(1, step, 32));
        return learner.Accuracy(tested.Draw(2, 0, 128));
    }
}
