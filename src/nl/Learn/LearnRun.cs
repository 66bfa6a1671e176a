namespace NestedLearning.CommandLine.Learn;

/// <summary>What a task runs on: a device, a seed, a number of steps, and somewhere to say how far it is.</summary>
internal sealed class LearnRun(Device device, ulong seed, int steps, TextWriter? progress)
{
    private readonly Lock _progress = new();

    public Device Device => device;

    /// <summary>Of initial values and data.</summary>
    public ulong Seed => seed;

    /// <summary>Outer steps, or what the task counts in their place.</summary>
    public int Steps => steps;

    /// <summary>Writes a line of progress.</summary>
    public void Say(FormattableString line)
    {
        lock (_progress)
            progress?.WriteLine(FormattableString.Invariant(line));
    }

    /// <summary>
    /// Does independent jobs, on the host as many at once as the device has threads: the models are too small to share one
    /// out. Results come in the jobs' order and do not depend on it.
    /// </summary>
    public IReadOnlyList<TResult> Each<TJob, TResult>(IReadOnlyList<TJob> jobs, Func<TJob, TResult> run)
    {
        int threads = device.Threads, atOnce = device.Backend.RunsOnHost ? Math.Min(threads, jobs.Count) : 1;
        var results = new TResult[jobs.Count];
        try
        {
            device.Threads = Math.Max(1, threads / atOnce);
            Parallel.For(0, jobs.Count, new ParallelOptions { MaxDegreeOfParallelism = atOnce }, i => results[i] = run(jobs[i]));
        }
        catch (AggregateException e)
        {
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(e.InnerExceptions[0]);
        }
        finally
        {
            device.Threads = threads;
        }

        return results;
    }

    /// <summary>Does every job with every rate, and keeps of each job's results the one with the least loss.</summary>
    public IReadOnlyList<TResult> BestOf<TJob,
        TResult>(IReadOnlyList<TJob> jobs, IReadOnlyList<float> rates, Func<TJob, float, TResult> run, Func<TResult, double> loss)
    {
        (TJob Job, float Rate)[] all = [.. jobs.SelectMany(j => rates.Select(r => (j, r)))];
        return [.. Each(all, a => run(a.Job, a.Rate)).Chunk(rates.Count).Select(results => results.MinBy(loss)!)];
    }
}
