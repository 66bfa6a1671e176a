using System.Globalization;
using ScottPlot;
using ScottPlot.Plottables;
using ScottPlot.TickGenerators;

namespace NestedLearning.CommandLine.Streaming;

/// <summary>
/// Two plots over the stream: above the learners' moving loss, below how much each level's weights change at a commit.
/// </summary>
internal static class LossChart
{
    private const int Width = 1280;
    private const int LossHeight = 500;
    private const int LevelHeight = 340;
    private const int MostPoints = 1500;
    // The untrained model's loss would press everything after it into a corner.
    private const double StartLeftOut = 0.03;
    private static readonly PixelPadding s_padding = new(left: 80, right: 25, bottom: 50, top: 60);
    private static readonly string[] s_levelColors = ["#d62728", "#9467bd", "#17becf", "#8c564b", "#e377c2", "#bcbd22"];

    /// <summary>What the picture may be called.</summary>
    public static IReadOnlyList<string> Names { get; } = ["loss.png", "loss.svg"];

    /// <summary>Draws <c>loss.png</c>, or <c>loss.svg</c> on a machine without fonts.</summary>
    /// <returns>The path of the file.</returns>
    public static string Save(StreamRun run, StreamReport report, string folder)
    {
        ChartCanvas canvas = Draw(run, report);
        string path = Path.Combine(folder, ChartCanvas.HasFonts ? Names[0] : Names[1]);
        if (ChartCanvas.HasFonts)
            canvas.SavePng(path);
        else
            canvas.SaveSvg(path);
        return path;
    }

    public static ChartCanvas Draw(StreamRun run, StreamReport report)
    {
        var canvas = new ChartCanvas(Width, LossHeight + LevelHeight);
        AddLosses(canvas, run);
        AddLevels(canvas, run.Plan, report);
        return canvas;
    }

    private static void AddLosses(ChartCanvas canvas, StreamRun run)
    {
        PhasePlan plan = run.Plan;
        var area = new PixelRect(0, Width, LossHeight, 0);
        var plot = new Plot();
        double low = double.PositiveInfinity, high = 0;
        var legend = new List<(string, string)>();
        // The first is drawn last, on top.
        foreach (LearnerTrack track in run.Tracks.Reverse())
        {
            foreach (Phase phase in plan.Phases.Where(p => p.End > track.Inherited))
            {
                (double Position, double Loss)[] points = Thin([.. StreamMetrics.Smoothed(track.Losses, phase)]);
                Scatter line = plot.Add.ScatterLine(Array.ConvertAll(points, p => p.Position), Array.ConvertAll(points, p => p.Loss));
                line.Color = Color.FromHex(ColorOf(track.Kind));
                line.LineWidth = 1.5f;
                low = Math.Min(low, points.Min(p => p.Loss));
                high = Math.Max(high, points.Where(p => p.Position > plan.Length * StartLeftOut).Select(p => p.Loss)
                    .DefaultIfEmpty(points[^1].Loss).Max());
            }

            legend.Insert(0, (track.Kind.Title(), ColorOf(track.Kind)));
        }

        low = Math.Floor(low * 4) / 4;
        high = Math.Max(low + 0.5, Math.Ceiling(high * 4) / 4);
        double step = (high - low) switch { <= 1 => 0.1, <= 2.5 => 0.25, <= 5 => 0.5, _ => 1 };
        Tick[] ticks = [.. Steps(low, high, step)
            .Select(y => new Tick(y, y.ToString("0.##", CultureInfo.InvariantCulture), isMajor: true))];
        Finish(canvas, plot, area, plan, low, high, ticks);
        canvas.Add(new ChartLabel($"Loss over the stream: bits per byte, mean over {StreamMetrics.WindowLength:N0} bytes", s_padding.Left,
            24, Size: 17));
        AddLegend(canvas, 0, legend);

        PixelRect data = DataOf(area);
        foreach (Phase phase in plan.Phases)
            canvas.Add(new ChartLabel($"{phase.Index + 1} {phase.Name}", plot.Axes.Bottom.GetPixel(phase.Start, data) + 6, data.Top + 16,
                Color: "#666666"));
    }

    private static void AddLevels(ChartCanvas canvas, PhasePlan plan, StreamReport report)
    {
        var area = new PixelRect(0, Width, LossHeight + LevelHeight, LossHeight);
        var plot = new Plot();
        double low = double.PositiveInfinity, high = double.NegativeInfinity;
        var legend = new List<(string, string)>();
        int most = 1;
        // The frozen learner's levels are Hope's until they stop.
        foreach (LearnerReport learner in report.Learners.Where(l => l.Id != LearnerKind.Frozen.Id() || report.Learners.Count == 1)
            .Reverse())
        {
            var entries = new List<(string, string)>();
            // The live learner of slots commits as one level does alone.
            bool slots = learner.Id == LearnerKind.Slots.Id() && report.Learners.Any(l => l.Id == LearnerKind.OneLevel.Id());
            foreach (LevelReport level in learner.Levels.Skip(slots ? learner.Levels.Count - 1 : 0))
            {
                Coordinates[] points =
                [
                    .. Enumerable.Range(0, level.Position.Length)
                        .Where(i => level.Change[i] > 0 && level.Norm[i] > 0)
                        .Select(i => new Coordinates(level.Position[i], Math.Log10(level.Change[i] / level.Norm[i]))),
                ];
                string color = slots ? ColorOf(LearnerKind.Slots)
                    : learner.Id == LearnerKind.OneLevel.Id() ? ColorOf(LearnerKind.OneLevel)
                    : s_levelColors[entries.Count % s_levelColors.Length];
                entries.Add(($"{learner.Name}: {level.Name} ({level.Commits:N0} commits)", color));
                most = Math.Max(most, level.CommitsPerPoint);
                if (points.Length == 0)
                    continue;
                Scatter dots = plot.Add.ScatterPoints(points, Color.FromHex(color));
                dots.MarkerSize = points.Length > 400 ? 3 : 5;
                low = Math.Min(low, points.Min(p => p.Y));
                high = Math.Max(high, points.Max(p => p.Y));
            }

            legend.InsertRange(0, entries);
        }

        if (high < low)
            (low, high) = (-4, 0);
        // From one of 1, 2 and 5 times a power of ten to another.
        Tick[] marks =
        [
            .. Enumerable.Range((int)Math.Floor(low), (int)Math.Ceiling(high) - (int)Math.Floor(low) + 1)
                .SelectMany(power => (int[])[1, 2, 5], (power, digit) =>
                    new Tick(power + Math.Log10(digit), power == 0 ? $"{digit}" : $"{digit}e{power}", isMajor: true)),
        ];
        low = marks.Last(t => t.Position <= low).Position;
        high = marks.First(t => t.Position >= high && t.Position > low).Position;
        Tick[] ticks = [.. marks.Where(t => t.Position >= low && t.Position <= high)];
        if (ticks.Length > 8)
            ticks = [.. ticks.Where(t => t.Label.StartsWith('1'))];
        Finish(canvas, plot, area, plan, low, high, ticks);
        canvas.Add(new ChartLabel("Level commits: relative change of a level's weights, |Δθ| / |θ|"
            + (most > 1 ? $", each point the mean of up to {most} commits" : ""), s_padding.Left, area.Top + 24, Size: 17));
        canvas.Add(new ChartLabel("bytes of the stream", Width - s_padding.Right, area.Bottom - 8, Anchor.End));
        AddLegend(canvas, area.Top, legend);
    }

    /// <summary>Axes, boundaries of phases and tick labels: what both plots have alike.</summary>
    private static void Finish(ChartCanvas canvas, Plot plot, PixelRect area, PhasePlan plan, double low, double high, Tick[] ticks)
    {
        double step = NiceStep(plan.Length / 10.0);
        Tick[] positions = [.. Steps(0, plan.Length, step).Select(x => new Tick(x, Thousands(x), isMajor: true))];
        plot.Axes.Bottom.TickGenerator = new NumericManual([.. positions.Select(WithoutLabel)]);
        plot.Axes.Left.TickGenerator = new NumericManual([.. ticks.Select(WithoutLabel)]);
        plot.Axes.SetLimits(0, plan.Length, low, high);
        plot.Layout.Fixed(s_padding);
        foreach (Phase phase in plan.Phases.Skip(1))
        {
            VerticalLine boundary = plot.Add.VerticalLine(phase.Start);
            boundary.Color = Color.FromHex("#666666");
            boundary.LineWidth = 1;
            boundary.LinePattern = LinePattern.Dashed;
        }

        canvas.Add(plot, area);
        PixelRect data = DataOf(area);
        foreach (Tick tick in positions)
            canvas.Add(new ChartLabel(tick.Label, plot.Axes.Bottom.GetPixel(tick.Position, data), data.Bottom + 20, Anchor.Middle,
                Size: 13));
        foreach (Tick tick in ticks.Where(t => t.IsMajor))
            canvas.Add(new ChartLabel(tick.Label, data.Left - 9, plot.Axes.Left.GetPixel(tick.Position, data) + 5, Anchor.End, Size: 13));
    }

    private static void AddLegend(ChartCanvas canvas, float top, List<(string Text, string Color)> entries)
    {
        // Even columns: the width of text is not known where there are no fonts.
        float column = (Width - s_padding.Left - s_padding.Right) / Math.Max(3, entries.Count);
        for (int i = 0; i < entries.Count; i++)
            canvas.Add(new ChartLabel("● " + entries[i].Text, s_padding.Left + i * column, top + 48, Color: entries[i].Color, Size: 13));
    }

    private static PixelRect DataOf(PixelRect area) =>
        new(area.Left + s_padding.Left, area.Right - s_padding.Right, area.Bottom - s_padding.Bottom, area.Top + s_padding.Top);

    private static string ColorOf(LearnerKind kind) => kind switch
    {
        LearnerKind.Hope => "#1f77b4",
        LearnerKind.OneLevel => "#ff7f0e",
        LearnerKind.Slots => "#111111",
        _ => "#2ca02c",
    };

    private static Tick WithoutLabel(Tick tick) => new(tick.Position, "", tick.IsMajor);

    private static (double, double)[] Thin((double, double)[] points)
    {
        int each = (points.Length + MostPoints - 1) / MostPoints;
        return each <= 1 ? points : [.. points.Where((_, i) => i % each == 0 || i == points.Length - 1)];
    }

    private static IEnumerable<double> Steps(double low, double high, double step)
    {
        int first = (int)Math.Ceiling(low / step - 1e-9), last = (int)Math.Floor(high / step + 1e-9);
        return Enumerable.Range(first, last - first + 1).Select(i => i * step);
    }

    // 1, 2 or 5 times a power of ten.
    private static double NiceStep(double least)
    {
        double power = Math.Pow(10, Math.Floor(Math.Log10(least)));
        return (least / power) switch { <= 1 => power, <= 2 => 2 * power, <= 5 => 5 * power, _ => 10 * power };
    }

    private static string Thousands(double bytes) =>
        bytes >= 1e6 ? (bytes / 1e6).ToString("0.##", CultureInfo.InvariantCulture) + "M"
        : bytes >= 1000 ? (bytes / 1000).ToString("0.##", CultureInfo.InvariantCulture) + "k"
        : bytes.ToString("0", CultureInfo.InvariantCulture);
}
