namespace NestedLearning.CommandLine.Streaming;

/// <summary>What tables and charts say of a series of block losses.</summary>
internal static class StreamMetrics
{
    /// <summary>Moving averages are over this many bytes, or a quarter of the phase where that is less.</summary>
    public const int WindowLength = 4096;

    /// <summary>A phase's final level is the mean over this last part of it.</summary>
    public const double FinalPart = 0.1;

    /// <summary>A learner has adapted when its moving average is at most this much above the final level.</summary>
    public const double AdaptationMargin = 0.05;

    /// <summary>Nats to bits.</summary>
    public static double Bits(double nats) => nats / Math.Log(2);

    /// <summary>Bits a byte over a whole phase.</summary>
    public static double PhaseLoss(IReadOnlyList<double> losses, Phase phase) => Mean(losses, phase, 0, phase.Blocks);

    /// <summary>Bits a byte over the last tenth of a phase, in whole blocks.</summary>
    public static double FinalLevel(IReadOnlyList<double> losses, Phase phase)
    {
        int blocks = Math.Max(1, (int)Math.Round(phase.Blocks * FinalPart));
        return Mean(losses, phase, phase.Blocks - blocks, phase.Blocks);
    }

    /// <summary>
    /// The bytes from a phase's start to the end of the first window whose mean is at most
    /// <see cref="AdaptationMargin"/> above the phase's final level; null where there is none.
    /// </summary>
    public static int? Adaptation(IReadOnlyList<double> losses, Phase phase)
    {
        double level = FinalLevel(losses, phase) * (1 + AdaptationMargin);
        for (int end = WindowBlocks(phase); end <= phase.Blocks; end++)
        {
            if (Mean(losses, phase, end - WindowBlocks(phase), end) <= level)
                return BytesBefore(phase, end);
        }

        return null;
    }

    /// <summary>Bits a byte over the newest blocks before a place in a phase.</summary>
    public static double RecentLoss(IReadOnlyList<double> losses, Phase phase, int bytesRead)
    {
        int end = (bytesRead + PhasePlan.BlockLength - 1) / PhasePlan.BlockLength;
        int begin = Math.Max(0, end - WindowBlocks(phase));
        double sum = 0;
        for (int block = begin; block < end; block++)
            sum += losses[phase.FirstBlock + block];
        return Bits(sum / (bytesRead - BytesBefore(phase, begin)));
    }

    /// <summary>
    /// The moving average over a phase at the end of each of its blocks: stream position and bits a byte. At the phase's
    /// start the window holds what there is, at least a quarter of its length.
    /// </summary>
    public static IEnumerable<(double Position, double Loss)> Smoothed(IReadOnlyList<double> losses, Phase phase)
    {
        int window = WindowBlocks(phase);
        for (int end = Math.Max(1, window / 4); end <= phase.Blocks; end++)
            yield return (phase.Start + BytesBefore(phase, end), Mean(losses, phase, Math.Max(0, end - window), end));
    }

    private static int WindowBlocks(Phase phase) => Math.Max(1, Math.Min(WindowLength / PhasePlan.BlockLength, phase.Blocks / 4));

    private static int BytesBefore(Phase phase, int block) => Math.Min(phase.Text.Length, block * PhasePlan.BlockLength);

    private static double Mean(IReadOnlyList<double> losses, Phase phase, int begin, int end)
    {
        double sum = 0;
        for (int block = begin; block < end; block++)
            sum += losses[phase.FirstBlock + block];
        return Bits(sum / (BytesBefore(phase, end) - BytesBefore(phase, begin)));
    }
}
