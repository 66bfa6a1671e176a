using NestedLearning.Models;
using NestedLearning.Models.Learning;

namespace NestedLearning.CommandLine.Learn;

/// <summary>One to four levels of one size in all, on a stream that returns to its first source.</summary>
internal sealed class LevelsTask : LearnTask
{
    private const int Hidden = 384;
    private static readonly int[] s_chunks = [64, 256, 1024, 4096];

    public override string Name => "levels";

    public override string Title => "one to four levels on a stream that returns to old material";

    public override int DefaultSteps => 16384;

    public override IReadOnlyList<LearnTable> Run(LearnRun run)
    {
        MarkovSource[] sources = [.. Enumerable.Range(0, 3).Select(i => new MarkovSource(3 * run.Seed + (ulong)i))];
        byte[] a = sources[0].Draw(0, run.Steps, out double entropy), again = sources[0].Draw(1, run.Steps, out _),
            heldOut = sources[0].Draw(2, 4096, out _);
        byte[] b = sources[1].Draw(0, run.Steps, out _), c = sources[2].Draw(0, run.Steps, out _);
        var rows = run.Each([1, 2, 3, 4], k =>
        {
            LevelConfiguration[] levels = [.. s_chunks[..k]
                .Select((chunk, i) => new LevelConfiguration($"level{i}", chunk, 3e-3f, Hidden / k))];
            var configuration = new ModelConfiguration { Dim = 64, Levels = levels, ProjectionLevel = 0, Seed = run.Seed };
            using StreamLearner learner = StreamLearner.Create(run.Device, configuration, $"{k} levels");
            double[] first = StreamTraining.Read(learner, a);
            double before = Bits(learner, heldOut);
            double[] second = StreamTraining.Read(learner, b), third = StreamTraining.Read(learner, c);
            double after = Bits(learner, heldOut);
            double[] fourth = StreamTraining.Read(learner, again);
            run.Say($"k = {k}: held-out {before:F3} bits, {after:F3} after two other sources");
            return new LearnRow(
                $"k = {k}, chunks {string.Join(", ", s_chunks[..k])}",
                first.Average(), second.Average(), third.Average(), before, after, after - before,
                StreamTraining.Mean(fourth, 0, 1024), StreamTraining.Mean(fourth, 0, 4096), fourth.Average(), learner.ParameterCount);
        });
        return
        [
            new LearnTable(
                $"bits a byte; sources A, B, C, then A again, {run.Steps:N0} bytes each; held out from A; entropy of A {entropy:F3}",
                ["A", "B", "C", "held out after A", "after C", "forgotten", "A again: first 1,024", "first 4,096", "whole", "parameters"],
                rows),
        ];
    }

    private static double Bits(StreamLearner learner, byte[] text) => learner.Evaluate(text) / Math.Log(2);
}
