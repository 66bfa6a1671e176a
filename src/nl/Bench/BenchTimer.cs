using System.Diagnostics;
using System.Runtime.InteropServices;

namespace NestedLearning.CommandLine.Bench;

/// <summary>Times calls by the wall clock.</summary>
internal static class BenchTimer
{
    private const int MostRepeats = 200;

    // Below this the clock and a thread that wakes up late would count; of a device, the wait for it.
    private const double LeastMilliseconds = 1, LeastMillisecondsOfDevice = 20;

    /// <summary>The median time of a call in milliseconds, over as many repeats as the budget allows, after a warm-up.</summary>
    /// <param name="run">The call.</param>
    /// <param name="budget">The time for all repeats.</param>
    /// <param name="wait">Waits for what was queued, where calls return before they are done. Its time is part of a repeat's.</param>
    public static double Median(Action run, TimeSpan budget, Action? wait = null)
    {
        // Compiles the device's kernels, which is no part of a call.
        run();
        wait?.Invoke();

        // Long enough for the runtime to compile what it runs a second time, with all optimizations.
        int calls = 0;
        long start = Stopwatch.GetTimestamp();
        do
        {
            run();
            wait?.Invoke();
            calls++;
        }
        while (Stopwatch.GetElapsedTime(start) < budget / 5);

        double least = wait is null ? LeastMilliseconds : LeastMillisecondsOfDevice;
        int callsOfRepeat = (int)Math.Max(1, least * calls / Stopwatch.GetElapsedTime(start).TotalMilliseconds);
        var times = new List<double>(MostRepeats);
        start = Stopwatch.GetTimestamp();
        do
        {
            long repeat = Stopwatch.GetTimestamp();
            for (int call = 0; call < callsOfRepeat; call++)
                run();
            wait?.Invoke();
            times.Add(Stopwatch.GetElapsedTime(repeat).TotalMilliseconds / callsOfRepeat);
        }
        while (times.Count < MostRepeats && Stopwatch.GetElapsedTime(start) < budget);

        times.Sort();
        return times[times.Count / 2];
    }

    /// <summary>The median times of two calls in milliseconds, which take turns so that what else the machine does meets both.</summary>
    /// <param name="first">A call of a millisecond or more.</param>
    /// <param name="second">Another.</param>
    /// <param name="budget">The time for all repeats of both.</param>
    /// <param name="wait">As of <see cref="Median"/>.</param>
    public static (double First, double Second) Medians(Action first, Action second, TimeSpan budget, Action? wait = null)
    {
        Time(first);
        Time(second);
        List<double> firsts = [], seconds = [];
        long start = Stopwatch.GetTimestamp();
        do
        {
            firsts.Add(Time(first));
            seconds.Add(Time(second));
        }
        while (firsts.Count < MostRepeats && (firsts.Count < 3 || Stopwatch.GetElapsedTime(start) < budget));

        firsts.Sort();
        seconds.Sort();
        return (firsts[firsts.Count / 2], seconds[seconds.Count / 2]);

        double Time(Action run)
        {
            long began = Stopwatch.GetTimestamp();
            run();
            wait?.Invoke();
            return Stopwatch.GetElapsedTime(began).TotalMilliseconds;
        }
    }

    /// <summary>What waits for a device, which is to read an element of it; null where calls return when they are done.</summary>
    public static Action? WaitFor(Tensor tensor)
    {
        if (tensor.Device.Backend.RunsOnHost)
            return null;
        float[] element = new float[1];
        return () => tensor.Device.Backend.Download(tensor.Storage, element);
    }
}
