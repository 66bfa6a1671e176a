using System.Diagnostics;

namespace NestedLearning.CommandLine.Streaming;

/// <summary>How fast a count grows, over the last seconds.</summary>
internal sealed class RateMeter
{
    private static readonly TimeSpan s_window = TimeSpan.FromSeconds(10);
    private readonly Queue<(long Time, long Count)> _samples = new();
    private (long Time, long Count) _last;

    /// <summary>0 until two samples apart in time are there.</summary>
    public double PerSecond { get; private set; }

    public void Add(long count)
    {
        // Time in which nothing was begun yet is not slowness.
        if (_samples.Count > 0 && _samples.Peek().Count == count)
            _samples.Clear();
        _last = (Stopwatch.GetTimestamp(), count);
        _samples.Enqueue(_last);
        while (_samples.Count > 2 && Stopwatch.GetElapsedTime(_samples.Peek().Time, _last.Time) > s_window)
            _samples.Dequeue();
        (long time, long first) = _samples.Peek();
        double seconds = Stopwatch.GetElapsedTime(time, _last.Time).TotalSeconds;
        PerSecond = seconds > 0 ? (count - first) / seconds : 0;
    }
}
