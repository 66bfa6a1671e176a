using System.Diagnostics;

namespace NestedLearning.CommandLine.Bench;

/// <summary>Times calls by the wall clock.</summary>
internal static class BenchTimer
{
    private const int MostRepeats = 200;

    // Below this the clock and a thread that wakes up late would count.
    private const double LeastMilliseconds = 1;

    /// <summary>The median time of a call in milliseconds, over as many repeats as the budget allows, after a warm-up.</summary>
    public static double Median(Action run, TimeSpan budget)
    {
        // Long enough for the runtime to compile what it runs a second time, with all optimizations.
        int calls = 0;
        long start = Stopwatch.GetTimestamp();
        do
        {
            run();
            calls++;
        }
        while (Stopwatch.GetElapsedTime(start) < budget / 5);

        int callsOfRepeat = (int)Math.Max(1, LeastMilliseconds * calls / Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        var times = new List<double>(MostRepeats);
        start = Stopwatch.GetTimestamp();
        do
        {
            long repeat = Stopwatch.GetTimestamp();
            for (int call = 0; call < callsOfRepeat; call++)
                run();
            times.Add(Stopwatch.GetElapsedTime(repeat).TotalMilliseconds / callsOfRepeat);
        }
        while (times.Count < MostRepeats && Stopwatch.GetElapsedTime(start) < budget);

        times.Sort();
        return times[times.Count / 2];
    }
}
