using NestedLearning.Models;
using NestedLearning.Models.Learning;

namespace NestedLearning.CommandLine.Learn;

/// <summary>Optimizers on one small model and one stream of data, each with the best of one grid of learning rates.</summary>
internal sealed class OptimizersTask : LearnTask
{
    private const int Symbols = 16;
    private const int Length = 32;
    private const int Batch = 16;
    private static readonly float[] s_rates = [1e-6f, 1e-5f, 1e-4f, 1e-3f, 3e-3f, 1e-2f, 3e-2f, 0.1f, 0.3f, 1];

    public override string Name => "optimizers";

    public override string Title => "optimizers on the same model and data";

    public override int DefaultSteps => 300;

    public override IReadOnlyList<LearnTable> Run(LearnRun run)
    {
        var source = new MarkovSource(run.Seed, Symbols, first: 0);
        source.Draw(0, 1 << 16, out double entropy);
        var task = new MarkovText(source, Symbols, Length);
        (string Name, Func<Optimizer> New)[] optimizers =
        [
            ("gradient descent", () => new GradientDescent()),
            ("momentum", () => new Momentum()),
            ("delta gradient descent", () => new DeltaGradientDescent()),
            ("delta momentum, rest momentum", () => OptimizerRules.ByShape(new DeltaMomentum(), new Momentum())),
            ("AdaGrad", () => new AdaGrad()),
            ("AdamW", NewAdam),
            ("Muon, rest AdamW", () => OptimizerRules.ByShape(new Muon { UpdateRms = AdamRms }, NewAdam())),
            ("M3, rest AdamW", () => OptimizerRules.ByShape(new M3(), NewAdam())),
        ];
        IEnumerable<LearnRow> rows = run.BestOf(optimizers, s_rates, (o, rate) =>
            (Losses: Train(run, task, o.Name, o.New(), rate), o.Name, Rate: rate), r => r.Losses[^1])
            .Select(r => new LearnRow(r.Name, [.. r.Losses.Select(l => (double?)l), r.Rate]));
        return
        [
            new LearnTable(
                $"bits a symbol on fresh text; {Symbols} symbols, entropy {entropy:F3}; best of the rates "
                    + $"{string.Join(", ", s_rates.Select(r => Readable.Number(r)))} by the last column",
                [.. Checkpoints(run.Steps).Select(s => $"after {s} steps"), "rate"],
                [.. rows]),
        ];
    }

    // AdamW's updates have about this root mean square, in units of its learning rate.
    private const float AdamRms = 0.2f;

    private static Adam NewAdam() => new() { Beta2 = 0.99 };

    private static int[] Checkpoints(int steps) => [Math.Max(1, steps / 8), Math.Max(1, steps / 2), steps];

    private static double[] Train(LearnRun run, MarkovText task, string name, Optimizer optimizer, float rate)
    {
        ModelConfiguration configuration = SequenceTraining.Shape(ModelConfiguration.HopeAttention, dim: 32, heads: 2, blocks: 2) with
        {
            Vocabulary = Symbols,
            Seed = run.Seed,
        };
        using var model = new SequenceModel(run.Device, configuration);
        using var levels = new LevelSystem(new Level("all", 1, rate, optimizer, model.Levels.Parameters)
        {
            ClipNorm = 1, WarmupCommits = 20,
        });
        var trainer = new EpisodicTrainer<SequenceEpisode>(new SequenceLearner(model, levels));
        int[] checkpoints = Checkpoints(run.Steps);
        double[] bits = new double[checkpoints.Length];
        bool finite = SequenceTraining.Train(trainer, levels, rate, run.Steps, step => task.Draw(run.Seed, step + 1, Batch), steps =>
        {
            for (int i = 0; i < checkpoints.Length; i++)
            {
                if (steps == checkpoints[i])
                    bits[i] = trainer.Evaluate(task.Draw(run.Seed + SequenceTraining.TestSeed, 0, 8 * Batch)) / Math.Log(2);
            }
        });
        if (!finite)
            bits[^1] = double.PositiveInfinity;
        run.Say($"{name}, rate {Readable.Number(rate)}: {bits[^1]:F4} bits");
        return bits;
    }
}
