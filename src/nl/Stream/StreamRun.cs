using System.Diagnostics;
using System.Runtime.ExceptionServices;

namespace NestedLearning.CommandLine.Streaming;

/// <summary>
/// Leads several learners through one stream side by side. What each learner computes depends on the stream alone, not
/// on the number of threads or on who is ahead.
/// </summary>
internal sealed class StreamRun : IDisposable
{
    private readonly ILearnerFactory _factory;
    private readonly LearnerTrack[] _tracks;
    private readonly string? _checkpointPath;
    private readonly IReadOnlyList<(string Name, string Value)> _identity;
    private readonly long _checkpointEvery;
    private readonly object _gate = new();
    private readonly HashSet<LearnerTrack> _busy = [];
    private int _computing;
    private long _nextCheckpoint;
    private double _secondsBefore;
    private long _begun;
    private Exception? _failure;

    /// <param name="plan">What is read.</param>
    /// <param name="factory">Makes the learners.</param>
    /// <param name="kinds">Which learners take part, each once.</param>
    /// <param name="checkpointPath">Where the run is saved; null to save nothing.</param>
    /// <param name="checkpointEvery">Save each time the leading learner has read so many bytes more; 0 for only at the end.</param>
    public StreamRun(PhasePlan plan, ILearnerFactory factory, IReadOnlyList<LearnerKind> kinds, string? checkpointPath,
        long checkpointEvery)
    {
        Plan = plan;
        _factory = factory;
        _tracks = [.. kinds.Select(k => new LearnerTrack(k, plan))];
        _checkpointPath = checkpointPath;
        _checkpointEvery = checkpointEvery;
        _identity = StreamCheckpoint.Identity(plan, factory, kinds);
    }

    public PhasePlan Plan { get; }

    public IReadOnlyList<LearnerTrack> Tracks => _tracks;

    /// <summary>Seconds of running, those before an interruption included.</summary>
    public double Seconds => _secondsBefore + (_begun == 0 ? 0 : Stopwatch.GetElapsedTime(_begun).TotalSeconds);

    /// <summary>The bytes that all learners together read; the beginning of a copy is read once, for both.</summary>
    public long BytesToRead =>
        _tracks.Sum(t =>
            t.Kind == LearnerKind.Frozen && Find(LearnerKind.Hope) is not null ? Plan.Length - Plan.Phases[0].End : Plan.Length);

    /// <summary>How many of <see cref="BytesToRead"/> are read, from any thread.</summary>
    public long BytesRead => _tracks.Sum(t => t.Snapshot.Position - t.Snapshot.Inherited);

    public bool Finished => _tracks.All(t => t.Finished);

    /// <summary>Creates the learners.</summary>
    public void Begin()
    {
        foreach (LearnerTrack track in _tracks)
        {
            // The frozen learner is Hope until the first phase ends, so that one computation serves both.
            if (track.Kind != LearnerKind.Frozen || Find(LearnerKind.Hope) is null)
                track.Begin(_factory.Create(track.Kind));
        }
    }

    /// <summary>Continues from the checkpoint instead.</summary>
    /// <exception cref="StreamException">The checkpoint is missing, damaged or of another run.</exception>
    public void Resume()
    {
        string path = _checkpointPath ?? throw new InvalidOperationException("The run has no checkpoint.");
        SafetensorsFile file = StreamCheckpoint.Open(path, _identity);
        try
        {
            _secondsBefore = StreamCheckpoint.Seconds(file);
            foreach (LearnerTrack track in _tracks)
                track.Load(file, _factory.Create);
        }
        catch (CheckpointException e)
        {
            throw new StreamException($"The checkpoint '{path}' cannot be used: {e.Message}", e);
        }
    }

    /// <summary>Reads the stream to its end or until it is told to stop, and then saves the run.</summary>
    /// <returns>Whether the end was reached.</returns>
    /// <exception cref="StreamException">A learner diverged, or the run could not be saved.</exception>
    public bool Run(CancellationToken stop)
    {
        _begun = Stopwatch.GetTimestamp();
        long readBefore = BytesRead;
        _nextCheckpoint = _checkpointEvery > 0 ? Leader() / _checkpointEvery * _checkpointEvery + _checkpointEvery : long.MaxValue;
        using (stop.Register(WakeAll))
        {
            var workers = new Task[Math.Clamp(_factory.AtOnce, 1, _tracks.Length)];
            for (int i = 0; i < workers.Length; i++)
                workers[i] = Task.Factory.StartNew(() =>
                    Work(stop), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
            Task.WaitAll(workers, CancellationToken.None);
        }

        if (_failure is not null)
            ExceptionDispatchInfo.Throw(_failure);
        // A run that was stopped before it began does not replace what an earlier one left.
        if (Finished || BytesRead > readBefore)
            Save();
        return Finished;
    }

    public void Dispose()
    {
        foreach (LearnerTrack track in _tracks)
            track.Dispose();
    }

    private void Work(CancellationToken stop)
    {
        while (Take(stop) is { } track)
        {
            try
            {
                track.Step();
                if (track.Kind == LearnerKind.Hope && track.Position == Plan.Phases[0].End)
                    ForkFrozen(track);
            }
            catch (Exception e)
            {
                Interlocked.CompareExchange(ref _failure, e, null);
            }

            lock (_gate)
            {
                _busy.Remove(track);
                Monitor.PulseAll(_gate);
            }
        }
    }

    private void ForkFrozen(LearnerTrack hope)
    {
        // Nobody may take the copy before it is whole.
        lock (_gate)
        {
            if (Find(LearnerKind.Frozen) is { HasLearner: false } frozen)
                frozen.ForkFrom(hope);
        }
    }

    /// <summary>The learner that is furthest behind and not at work, once there is one; null when there is nothing left to do.</summary>
    private LearnerTrack? Take(CancellationToken stop)
    {
        lock (_gate)
        {
            while (!stop.IsCancellationRequested && _failure is null && !Finished)
            {
                if (Leader() >= _nextCheckpoint)
                {
                    // The others wait here too, so that all learners are between two segments.
                    if (_busy.Count == 0)
                        SaveOnTheWay();
                    else
                        Monitor.Wait(_gate);
                    continue;
                }

                ShareThreads();
                LearnerTrack? next = _tracks.Where(t => t.HasLearner && !t.Finished && !_busy.Contains(t)).MinBy(t => t.Snapshot.Position);
                if (next is not null)
                {
                    _busy.Add(next);
                    return next;
                }

                Monitor.Wait(_gate);
            }

            return null;
        }
    }

    // Learners that have ended, or not begun, leave their threads to the others.
    private void ShareThreads()
    {
        int computing = Math.Clamp(_tracks.Count(t => t.HasLearner && !t.Finished), 1, Math.Max(1, _factory.AtOnce));
        if (computing != _computing)
            _factory.ShareThreads(_computing = computing);
    }

    private void SaveOnTheWay()
    {
        try
        {
            Save();
            while (_nextCheckpoint <= Leader())
                _nextCheckpoint += _checkpointEvery;
        }
        catch (StreamException e)
        {
            _failure = e;
        }
    }

    private void Save()
    {
        if (_checkpointPath is not null)
            StreamCheckpoint.Save(_checkpointPath, _identity, Seconds, _tracks);
    }

    private void WakeAll()
    {
        lock (_gate)
            Monitor.PulseAll(_gate);
    }

    private long Leader() => _tracks.Max(t => t.Snapshot.Position);

    private LearnerTrack? Find(LearnerKind kind) => Array.Find(_tracks, t => t.Kind == kind);
}
