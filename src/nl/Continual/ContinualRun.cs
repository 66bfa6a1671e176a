using System.Collections.Concurrent;
using System.Runtime.ExceptionServices;
using NestedLearning.Models;
using NestedLearning.Models.Continual;

namespace NestedLearning.CommandLine.Continual;

/// <summary>How one strategy stands.</summary>
/// <param name="Strategy">Which one.</param>
/// <param name="Search">What its search found; null before that.</param>
/// <param name="Runs">The reported runs so far, by seed.</param>
internal sealed record StrategyOutcome(Strategy Strategy, SearchResult? Search, IReadOnlyList<RunRecord> Runs);

/// <summary>
/// Searches each strategy's number on the validation seed, then runs each with what was found on every seed: as many runs at once as
/// the device has threads. What comes out does not depend on that.
/// </summary>
internal sealed class ContinualRun
{
    private readonly Device _device;
    private readonly ContinualSettings _settings;
    private readonly ContinualTexts _texts;
    private readonly RunFile _file;
    private readonly string _identity;
    private readonly ConcurrentDictionary<string, SearchResult> _found = [];
    private readonly ConcurrentDictionary<object, long> _reading = [];
    private readonly TaskCompletionSource<double> _oneLevelsRate = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public ContinualRun(Device device, ContinualSettings settings, ContinualTexts texts, RunFile file)
    {
        (_device, _settings, _texts, _file) = (device, settings, texts, file);
        _identity = string.Join(' ', settings.Benchmark, string.Join(',', Order), settings.PhaseBytes, settings.HeldOutBytes,
            settings.Dim, texts.Sha256[..16], device.Name, typeof(PhaseRun).Assembly.GetName().Version);
        if (settings.Slots != Strategy.DefaultSlots)
            _identity += $" {settings.Slots}";
        Length = Stream(ContinualSettings.ValidationSeed).Length;
    }

    public IReadOnlyList<string> Order => _settings.Order ?? _texts.Order;

    /// <summary>The bytes of a run.</summary>
    public long Length { get; }

    /// <summary>How many runs there will be.</summary>
    public int Runs => Searched.Count * _settings.Trials + _settings.Strategies.Count * _settings.Seeds;

    /// <summary>How many of them are done, and parts of those at work.</summary>
    public double Done => Finished + _reading.Values.Sum() / (double)Length;

    public int Finished => _file.Runs.Count(r => r.Identity == _identity);

    public IReadOnlyList<StrategyOutcome> Outcomes => [.. _settings.Strategies.Select(s => new StrategyOutcome(
        s, _found.GetValueOrDefault(s.Id),
        [.. _file.Runs.Where(r => r.Identity == _identity && r.Strategy == s.Id && r.Seed != ContinualSettings.ValidationSeed)
            .OrderBy(r => r.Seed)]))];

    // The rate of one level is needed where it is not reported, too.
    private IReadOnlyList<Strategy> Searched =>
        _settings.Strategies.Any(s => s.UsesOneLevelsRate) && !_settings.Strategies.Contains(Strategy.OneLevel)
            ? [Strategy.OneLevel, .. _settings.Strategies]
            : [.. _settings.Strategies.OrderByDescending(s => s == Strategy.OneLevel)];

    /// <summary>Does everything that the file of runs does not have.</summary>
    /// <param name="say">Is told of each run that ended.</param>
    /// <param name="stop">Ends it.</param>
    /// <exception cref="OperationCanceledException">It was told to stop; the runs that ended are kept.</exception>
    public void Run(Action<string> say, CancellationToken stop)
    {
        // One level comes first, since others wait for its rate.
        Each(Searched, strategy =>
        {
            try
            {
                SearchResult found = ValueSearch.Run(strategy.Middle, strategy.Factor, _settings.Trials, value =>
                    ScoreOf(strategy, One(strategy, value, ContinualSettings.ValidationSeed, say, stop).Results));
                _found[strategy.Id] = found;
                if (strategy == Strategy.OneLevel)
                    _oneLevelsRate.SetResult(found.Best);
            }
            catch (Exception e) when (strategy == Strategy.OneLevel)
            {
                _oneLevelsRate.TrySetException(e);
                throw;
            }
        });
        Each([.. _settings.Strategies.SelectMany(s => Enumerable.Range(1, _settings.Seeds).Select(seed => (Strategy: s, Seed: seed)))],
            job => One(job.Strategy, _found[job.Strategy.Id].Best, (ulong)job.Seed, say, stop));
    }

    // A rate is to predict the whole stream well. A penalty costs bits where it holds weights, so that its strength is to weigh them
    // against what is kept.
    private static double ScoreOf(Strategy strategy, PhaseResults results) =>
        strategy.UsesOneLevelsRate || results.Diverged is not null ? results.Score : results.WholeStream;

    private PhaseStream Stream(ulong seed) =>
        PhaseStream.Create(_texts.Domains, Order, _settings.PhaseBytes, _settings.HeldOutBytes, seed);

    private RunRecord One(Strategy strategy, double value, ulong seed, Action<string> say, CancellationToken stop)
    {
        double rate = strategy.UsesOneLevelsRate ? _oneLevelsRate.Task.GetAwaiter().GetResult() : 0;
        if (_file.Runs.FirstOrDefault(r => r.Is(_identity, strategy.Id, value, rate, seed)) is { } done)
            return done;
        stop.ThrowIfCancellationRequested();
        PhaseStream stream = Stream(seed);
        object key = new();
        try
        {
            using IStreamLearner learner = strategy.Create(_device, value, rate, stream, seed, _settings);
            var run = new RunRecord(_identity, strategy.Id, value, rate, seed,
                PhaseRun.Run(learner, stream, read => _reading[key] = read, everyPhase: seed != ContinualSettings.ValidationSeed, stop));
            _reading.TryRemove(key, out _);
            _file.Add(run);
            PhaseResults r = run.Results;
            string what = seed == ContinualSettings.ValidationSeed ? "trial" : FormattableString.Invariant($"seed {seed}");
            string figures = r.Diverged is { } why ? $"diverged: {why}"
                : FormattableString.Invariant($"{r.WholeStream:F3} bits, at the end {r.HeldOutAtEnd:F3} on held-out text of all");
            say(FormattableString.Invariant($"{Finished} of {Runs}: {strategy.Title}, {strategy.Searched} ") +
                $"{Readable.Number((float)value)}, {what}: {figures}");
            return run;
        }
        finally
        {
            _reading.TryRemove(key, out _);
        }
    }

    // Jobs begin in their order. Models of this size gain nothing from a second thread.
    private void Each<T>(IReadOnlyList<T> jobs, Action<T> run)
    {
        int threads = _device.Threads, atOnce = _device.Backend.RunsOnHost ? Math.Min(threads, jobs.Count) : 1;
        var queue = new ConcurrentQueue<T>(jobs);
        Exception? failure = null;
        try
        {
            _device.Threads = Math.Max(1, threads / Math.Max(1, atOnce));
            Task[] workers = [.. Enumerable.Range(0, atOnce).Select(_ => Task.Factory.StartNew(Work, CancellationToken.None,
                TaskCreationOptions.LongRunning, TaskScheduler.Default))];
            Task.WaitAll(workers);
        }
        finally
        {
            _device.Threads = threads;
        }

        if (failure is not null)
            ExceptionDispatchInfo.Throw(failure);

        void Work()
        {
            while (Volatile.Read(ref failure) is null && queue.TryDequeue(out T? job))
            {
                try
                {
                    run(job);
                }
                catch (Exception e)
                {
                    Interlocked.CompareExchange(ref failure, e, null);
                }
            }
        }
    }
}
