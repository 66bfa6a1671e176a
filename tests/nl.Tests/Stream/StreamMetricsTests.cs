using Xunit;

namespace NestedLearning.CommandLine.Streaming.Tests;

public class StreamMetricsTests
{
    // 40 whole blocks in the first phase and 40 and a shorter one in the second.
    private static readonly PhasePlan s_plan = PhasePlan.Create(
        [new PhaseText("a", "", Texts.Words("abc", PhasePlan.TextFor(40 * 256), 1)),
        new PhaseText("b", "", Texts.Words("abc", PhasePlan.TextFor(40 * 256), 2))],
        40 * 256);

    [Fact]
    public void PhaseLoss_IsBitsAByte()
    {
        double[] losses = Series(_ => 3, _ => 2);
        Assert.Equal(3, StreamMetrics.PhaseLoss(losses, s_plan.Phases[0]), 12);
        Assert.Equal(2, StreamMetrics.PhaseLoss(losses, s_plan.Phases[1]), 12);
    }

    [Fact]
    public void FinalLevel_IsOfTheLastTenth()
    {
        double[] losses = Series(block => block < 36 ? 5 : 1.5, _ => 0);
        Assert.Equal(1.5, StreamMetrics.FinalLevel(losses, s_plan.Phases[0]), 12);
    }

    [Fact]
    public void Adaptation_IsTheEndOfTheFirstWindowNearTheFinalLevel()
    {
        // A window is ten blocks here. One block in ten at 2 and nine at 1 are a mean of 1.1, none of them 1.
        double[] losses = Series(_ => 0, block => block < 12 ? 2 : 1);
        Assert.Equal((12 + 10) * 256, StreamMetrics.Adaptation(losses, s_plan.Phases[1]));

        // Within 5 % counts, more does not.
        Assert.Equal((12 + 9) * 256, StreamMetrics.Adaptation(Series(_ => 0, block => block < 12 ? 1.45 : 1), s_plan.Phases[1]));
        Assert.Equal((12 + 10) * 256, StreamMetrics.Adaptation(Series(_ => 0, block => block < 12 ? 1.55 : 1), s_plan.Phases[1]));

        // From the start: the first whole window.
        Assert.Equal(10 * 256, StreamMetrics.Adaptation(Series(_ => 0, _ => 1), s_plan.Phases[1]));
    }

    [Fact]
    public void Adaptation_CanFailToCome()
    {
        double[] losses = Series(block => 3, block => block >= 36 ? 0.5 : 10);
        Assert.Null(StreamMetrics.Adaptation(losses, s_plan.Phases[1]));
    }

    [Fact]
    public void Averages_StayInTheirPhase()
    {
        double[] losses = Series(_ => 8, block => 1 + block);
        Assert.Equal(1, StreamMetrics.RecentLoss(losses, s_plan.Phases[1], 256), 12);
        Assert.Equal(1.5, StreamMetrics.RecentLoss(losses, s_plan.Phases[1], 512), 12);
        Assert.Equal((31 + 40) / 2.0, StreamMetrics.RecentLoss(losses, s_plan.Phases[1], 40 * 256), 12);

        (double Position, double Loss)[] smoothed = [.. StreamMetrics.Smoothed(losses, s_plan.Phases[1])];
        Assert.Equal((s_plan.Phases[1].Start + 2 * 256, 1.5), smoothed[0]);
        Assert.Equal((s_plan.Length, (31 + 40) / 2.0), smoothed[^1]);
    }

    [Fact]
    public void RecentLoss_InTheMiddleOfABlock_IsOfTheBytesRead()
    {
        var losses = new double[s_plan.Blocks];
        losses[0] = 256 * Math.Log(2);
        losses[1] = 3 * 10 * Math.Log(2);
        Assert.Equal((256 + 30) / 266.0, StreamMetrics.RecentLoss(losses, s_plan.Phases[0], 266), 12);
    }

    // Sums in nats from bits a byte.
    private static double[] Series(params Func<int, double>[] bitsOfBlock)
    {
        var losses = new double[s_plan.Blocks];
        foreach (Phase phase in s_plan.Phases)
        {
            for (int block = 0; block < phase.Blocks; block++)
                losses[phase.FirstBlock + block] = bitsOfBlock[phase.Index](block) * phase.BytesOfBlock(block) * Math.Log(2);
        }

        return losses;
    }
}
