using NestedLearning.Models;
using NestedLearning.Models.Learning;

namespace NestedLearning.CommandLine.Learn;

/// <summary>A stream whose source changes in the middle: how soon each learner is where it will end.</summary>
internal sealed class ShiftTask : LearnTask
{
    private const int Window = 1024;
    private static readonly float[] s_rates = [3e-3f, 6e-3f, 1.2e-2f];

    public override string Name => "shift";

    public override string Title => "a stream of bytes whose source changes in the middle";

    public override int DefaultSteps => 16384;

    public override IReadOnlyList<LearnTable> Run(LearnRun run)
    {
        byte[] before = new MarkovSource(2 * run.Seed).Draw(0, run.Steps, out double entropyBefore);
        byte[] after = new MarkovSource(2 * run.Seed + 1).Draw(0, run.Steps, out double entropyAfter);
        ModelConfiguration hope = new() { Dim = 64, Seed = run.Seed };
        Candidate[] candidates =
        [
            new("Hope", hope),
            new("Titans, same levels", hope with { Mixer = TokenMixer.Titans }),
            new("DeltaNet, same levels", hope with { Mixer = TokenMixer.DeltaNet }),
            new("DeltaNet, one level", (hope with { Mixer = TokenMixer.DeltaNet }).WithOneLevel()),
            new("attention, same levels", hope with { Mixer = TokenMixer.Attention }),
        ];
        // The rate is chosen before the shift.
        var best = run.BestOf(candidates, s_rates, (candidate, rate) =>
        {
            using StreamLearner learner = StreamLearner.Create(run.Device, WithRate(candidate.Configuration, rate), candidate.Name);
            IReadOnlyList<double[]> bits = StreamTraining.Read(learner, [before, after]);
            string text = $"{bits[0].Average():F3} bits before the shift";
            run.Say($"{candidate.Name}, rate {Readable.Number(rate)}: {text}, {bits[1].Average():F3} after");
            return (candidate.Name, Rate: rate, Bits: bits, learner.ParameterCount);
        }, r => r.Bits[0].Average());
        int end = run.Steps - run.Steps / 8;
        return
        [
            new LearnTable(
                $"bits a byte before and after the shift; recovered is where the mean over {Window:N0} bytes is as near the source's " +
                $"entropy as in the last eighth before the shift; entropy {entropyBefore:F3} and {entropyAfter:F3}",
                ["before: last eighth", "after: first 1,024", "first 4,096", "whole", "last eighth", "recovered after", "rate",
                "parameters"],
                [
                    .. best.Select(b => new LearnRow(
                        b.Name, StreamTraining.Mean(b.Bits[0], end, run.Steps), StreamTraining.Mean(b.Bits[1], 0, 1024),
                        StreamTraining.Mean(b.Bits[1], 0, 4096), b.Bits[1].Average(),
                        StreamTraining.Mean(b.Bits[1], end, run.Steps),
                        StreamTraining.Reaches(b.Bits[1], StreamTraining.Mean(b.Bits[0], end, run.Steps) + entropyAfter - entropyBefore,
                            Window), b.Rate, b.ParameterCount)),
                ]),
        ];
    }

    private static ModelConfiguration WithRate(ModelConfiguration configuration, float rate) =>
        configuration with { Levels = [.. configuration.Levels.Select(l => l with { LearningRate = rate })] };
}
