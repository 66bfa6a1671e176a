using System.Globalization;
using Spectre.Console;
using Spectre.Console.Rendering;

namespace NestedLearning.CommandLine.Streaming;

/// <summary>Shows a run while it goes on: bars on a terminal, a line now and then elsewhere.</summary>
internal sealed class StreamProgress(IAnsiConsole console, StreamRun run)
{
    private static readonly TimeSpan s_barInterval = TimeSpan.FromSeconds(0.15);
    private static readonly TimeSpan s_lineInterval = TimeSpan.FromSeconds(5);
    private readonly RateMeter[] _rates = [.. run.Tracks.Select(_ => new RateMeter())];
    private readonly RateMeter _rateOfAll = new();

    /// <summary>Shows the run until the work is done; does not throw what the work throws.</summary>
    public void Follow(Task work)
    {
        _rateOfAll.Add(run.BytesRead);
        for (int i = 0; i < _rates.Length; i++)
            AddSample(i);
        if (console.Profile.Capabilities.Interactive && console.Profile.Capabilities.Ansi)
            FollowWithBars(work);
        else
            FollowWithLines(work);
    }

    private void FollowWithBars(Task work) => console.Progress()
        .Columns(
            new TaskDescriptionColumn { Alignment = Justify.Left },
            new ProgressBarColumn { Width = 18 },
            new PercentageColumn(),
            new TextColumn(t => t.Loss, 15),
            new TextColumn(t => t.Rate, 15),
            new TextColumn(t => t.Left, 10))
        .Start(context =>
        {
            ProgressTask[] bars = [.. run.Tracks.Select(t => context.AddTask(t.Kind.Title(), maxValue: run.Plan.Length))];
            // A copy's beginning is read once, for both: the bar of all together counts what is computed.
            ProgressTask all = context.AddTask("all", maxValue: run.BytesToRead);
            bool done;
            do
            {
                done = Task.WaitAny([work], s_barInterval) == 0;
                for (int i = 0; i < bars.Length; i++)
                {
                    TrackSnapshot track = run.Tracks[i].Snapshot;
                    AddSample(i);
                    Show(bars[i], track.Position, track.RecentLoss, _rates[i], run.Plan.Length - track.Position);
                }

                _rateOfAll.Add(run.BytesRead);
                Show(all, run.BytesRead, double.NaN, _rateOfAll, run.BytesToRead - run.BytesRead);
            }
            while (!done);
        });

    private void AddSample(int track) => _rates[track].Add(run.Tracks[track].Snapshot.Position - run.Tracks[track].Snapshot.Inherited);

    private static void Show(ProgressTask bar, long position, double loss, RateMeter rate, long left)
    {
        bar.Value = position;
        bar.Tag = new BarText(
            double.IsNaN(loss) ? "" : Loss(loss),
            rate.PerSecond > 0 ? Rate(rate.PerSecond) : "",
            left == 0 ? "done" : rate.PerSecond > 0 ? $"{TimeLeft(left / rate.PerSecond)} left" : "");
    }

    private void FollowWithLines(Task work)
    {
        long shown = -1;
        bool done;
        do
        {
            done = Task.WaitAny([work], s_lineInterval) == 0;
            _rateOfAll.Add(run.BytesRead);
            if (shown != run.BytesRead)
                console.WriteLine(Line());
            shown = run.BytesRead;
        }
        while (!done);
    }

    private string Line()
    {
        long total = run.BytesToRead, done = run.BytesRead;
        IEnumerable<string> losses = run.Tracks.Select(t =>
            $"{t.Kind.Title()} {(double.IsNaN(t.Snapshot.RecentLoss) ? "-" : Loss(t.Snapshot.RecentLoss))}");
        string left = done == total || _rateOfAll.PerSecond <= 0 ? "" : $", {TimeLeft((total - done) / _rateOfAll.PerSecond)} left";
        return $"{(double)done / total,4:P0}  {string.Join("  ", losses)}  {Rate(_rateOfAll.PerSecond)}{left}";
    }

    private static string Loss(double bits) => bits.ToString("F3", CultureInfo.InvariantCulture) + " bits/byte";

    private static string Rate(double perSecond) => perSecond.ToString("N0", CultureInfo.InvariantCulture) + " tokens/s";

    internal static string TimeLeft(double seconds)
    {
        var left = TimeSpan.FromSeconds(Math.Min(Math.Ceiling(seconds), TimeSpan.FromDays(99).TotalSeconds));
        return left.TotalHours < 1 ? left.ToString(@"m\:ss", CultureInfo.InvariantCulture) : $"{(int)left.TotalHours}:{left:mm\\:ss}";
    }

    private sealed record BarText(string Loss, string Rate, string Left);

    private sealed class TextColumn(Func<BarText, string> text, int width) : ProgressColumn
    {
        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime) =>
            new Text(task.Tag is BarText bar ? text(bar) : "").RightJustified();

        public override int? GetColumnWidth(RenderOptions options) => width;
    }
}
