using NestedLearning.Models.Continual;
using NestedLearning.Models.Learning;
using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Models.Tests.Continual;

/// <summary>What a slow level of slots is for: what one level forgets of a source while it reads another is kept.</summary>
public sealed class RetentionClaimTests() : BackendTests("cpu")
{
    private const int Phase = 12_288;

    private static readonly ModelConfiguration s_oneLevel = new()
    {
        Dim = 32, Heads = 2, Blocks = 1, ContextLength = 256, ProjectionLevel = 0, Levels = [new("only", 64, 6e-3f, 96)],
    };

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void AlternatingSources_SlotsForgetAtMostAFifthOfWhatOneLevelForgets(int seed)
    {
        double oneLevel = Forgotten(slots: 0, (ulong)seed), withSlots = Forgotten(slots: 2, (ulong)seed);
        Assert.True(oneLevel > 0.5, $"One level forgets {oneLevel} bits; there is nothing to keep.");
        Assert.True(withSlots <= oneLevel / 5, $"With slots {withSlots} bits are forgotten, one level forgets {oneLevel}.");
    }

    // Two sources alternate; the mean rise of the loss on held-out text of a source over the phase of the other, in bits a byte.
    private double Forgotten(int slots, ulong seed)
    {
        MarkovSource[] sources = [new(2 * seed), new(2 * seed + 1)];
        byte[][] heldOut = [.. sources.Select(s => s.Draw(100, 2048, out _))];
        // No commit at the end of a phase.
        using SlotLearner learner = SlotLearner.Create(Device, s_oneLevel with { Seed = seed },
            new SlotSettings { Slots = slots, Period = 5120, TextBytes = 1024 }, "learner");
        var forgotten = new List<double>();
        double before = 0;
        for (int phase = 0; phase < 4; phase++)
        {
            byte[] text = sources[phase % 2].Draw((ulong)phase, Phase, out _);
            for (int p = 0; p < text.Length; p += 64)
                learner.Read(text.AsSpan(p, 64), new float[64]);
            if (phase > 0)
                forgotten.Add((learner.Evaluate(heldOut[(phase + 1) % 2]) - before) / Math.Log(2));
            before = learner.Evaluate(heldOut[phase % 2]);
        }

        return forgotten.Average();
    }
}
