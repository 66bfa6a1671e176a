using System.Diagnostics;
using NestedLearning.Models;

namespace NestedLearning.CommandLine.Streaming;

/// <summary>What the progress display shows of a learner.</summary>
/// <param name="Position">Bytes of the stream read, those of a forked-off beginning among them.</param>
/// <param name="Inherited">How many of them another learner read for this one.</param>
/// <param name="RecentLoss">Bits a byte over the newest blocks, NaN before the first.</param>
internal sealed record TrackSnapshot(long Position, long Inherited, double RecentLoss);

/// <summary>One learner on its way through the stream, and everything measured on the way.</summary>
internal sealed class LearnerTrack : IDisposable
{
    private readonly PhasePlan _plan;
    private readonly double[] _losses;
    private readonly List<LevelCommit> _commits = [];
    private readonly double[] _heldOutLosses;
    private float[] _segmentLosses = [];
    private IStreamLearner? _learner;
    private TrackSnapshot _snapshot = new(0, 0, double.NaN);

    public LearnerTrack(LearnerKind kind, PhasePlan plan)
    {
        Kind = kind;
        _plan = plan;
        _losses = new double[plan.Blocks];
        _heldOutLosses = new double[plan.Phases.Count * plan.Phases.Count];
        Array.Fill(_heldOutLosses, double.NaN);
    }

    public LearnerKind Kind { get; }

    /// <summary>Whether there is a learner; one that is forked off has none until then.</summary>
    public bool HasLearner => _learner is not null;

    public IStreamLearner Learner => _learner ?? throw new InvalidOperationException($"{Kind.Title()} has not begun.");

    /// <summary>Bytes of the stream read.</summary>
    public long Position { get; private set; }

    /// <summary>How many of them another learner read for this one, before it was forked off.</summary>
    public long Inherited { get; private set; }

    public bool Finished => Position == _plan.Length;

    /// <summary>Seconds spent reading, without those of the inherited part.</summary>
    public double Seconds { get; private set; }

    /// <summary>The sums of the losses in nats over each of the plan's blocks.</summary>
    public IReadOnlyList<double> Losses => _losses;

    public IReadOnlyList<LevelCommit> Commits => _commits;

    /// <summary>What may be read from another thread at any time.</summary>
    public TrackSnapshot Snapshot => Volatile.Read(ref _snapshot);

    /// <summary>
    /// The loss on the held-out part of a phase, in nats a byte, measured at the end of another; NaN where it was not.
    /// </summary>
    public double HeldOutLoss(int afterPhase, int ofPhase) => _heldOutLosses[afterPhase * _plan.Phases.Count + ofPhase];

    /// <summary>Starts from nothing.</summary>
    public void Begin(IStreamLearner learner)
    {
        _learner = learner;
        learner.Timeline.Clear();
        SetLearning();
    }

    /// <summary>Starts as a copy of another at its position: its past becomes the past of this one too.</summary>
    public void ForkFrom(LearnerTrack other)
    {
        Position = other.Position;
        Inherited = other.Position;
        other._losses.CopyTo(_losses, 0);
        _commits.AddRange(other._commits);
        other._heldOutLosses.CopyTo(_heldOutLosses, 0);
        Begin(other.Learner.Fork(Kind.Title()));
        Publish();
    }

    /// <summary>Reads one segment, which never crosses the end of a phase, and does what is due at the end of one.</summary>
    /// <exception cref="DivergenceException">A loss is not a finite number.</exception>
    public void Step()
    {
        Phase phase = _plan.At(Position);
        int offset = (int)(Position - phase.Start);
        int length = Math.Min(Learner.SegmentLength, phase.Text.Length - offset);
        if (_segmentLosses.Length < length)
            _segmentLosses = new float[length];
        Span<float> losses = _segmentLosses.AsSpan(0, length);

        long begun = Stopwatch.GetTimestamp();
        try
        {
            Learner.Read(phase.Text.AsSpan(offset, length), losses);
        }
        catch (NotFiniteNumberException e)
        {
            throw Divergence(phase, Learner.Position, e.OffendingNumber);
        }

        Seconds += Stopwatch.GetElapsedTime(begun).TotalSeconds;

        for (int i = 0; i < length; i++)
        {
            if (!float.IsFinite(losses[i]))
                throw Divergence(phase, Position + i, losses[i]);
            _losses[phase.FirstBlock + (offset + i) / PhasePlan.BlockLength] += losses[i];
        }

        _commits.AddRange(Learner.Timeline.Commits);
        Learner.Timeline.Clear();
        Position += length;
        if (Position == phase.End)
            EndPhase(phase);
        Publish();
    }

    private DivergenceException Divergence(Phase phase, long position, double loss) =>
        new($"{Kind.Title()}: the loss is {loss} at byte {position:N0} of the stream (phase {phase.Index + 1}, {phase.Name}).");

    private void EndPhase(Phase phase)
    {
        for (int of = 0; of <= phase.Index; of++)
        {
            double loss = Learner.Evaluate(_plan.Phases[of].HeldOut);
            if (!double.IsFinite(loss))
                throw new DivergenceException($"{Kind.Title()}: the loss on the held-out part of phase {of + 1} is {loss} after phase " +
                    $"{phase.Index + 1}.");
            _heldOutLosses[phase.Index * _plan.Phases.Count + of] = loss;
        }

        SetLearning();
    }

    private void SetLearning() => Learner.Learns = Kind != LearnerKind.Frozen || Position < _plan.Phases[0].End;

    private void Publish()
    {
        double recent = double.NaN;
        if (Position > 0)
        {
            Phase phase = _plan.At(Position - 1);
            recent = StreamMetrics.RecentLoss(_losses, phase, (int)(Position - phase.Start));
        }

        Volatile.Write(ref _snapshot, new TrackSnapshot(Position, Inherited, recent));
    }

    /// <summary>Writes the learner and all measurements, every name starting with the learner's.</summary>
    /// <exception cref="DivergenceException">The learner holds a number that is not finite.</exception>
    public void Save(SafetensorsFile file)
    {
        string id = Kind.Id();
        file.Add($"{id}.run.position", [Position, Inherited, _commits.Count, Bits(Seconds)]);
        if (!HasLearner)
            return;
        file.Add($"{id}.run.losses", Array.ConvertAll(_losses, Bits));
        file.Add($"{id}.run.held_out_losses", Array.ConvertAll(_heldOutLosses, Bits));
        if (_commits.Count > 0)
            file.Add($"{id}.run.commits", [.. _commits.SelectMany(c => (long[])[c.Level, c.Step, Bits(c.Change), Bits(c.Norm)])]);

        string prefix = $"{id}.model.";
        Learner.Save(file, prefix);
        foreach (string name in file.Names.Where(n => n.StartsWith(prefix, StringComparison.Ordinal)))
        {
            if (file.HoldsFloats(name) && file.Floats(name).ContainsAnyExceptInRange(float.MinValue, float.MaxValue))
                throw new DivergenceException($"{Kind.Title()}: {name[prefix.Length..]} is no longer finite at byte {Position:N0} of " +
                    "the stream.");
        }
    }

    /// <summary>Takes over what <see cref="Save"/> wrote.</summary>
    /// <param name="file">The checkpoint.</param>
    /// <param name="create">Makes a learner to load into; not called where there was none.</param>
    /// <exception cref="CheckpointException">The checkpoint does not fit.</exception>
    public void Load(SafetensorsFile file, Func<LearnerKind, IStreamLearner> create)
    {
        string id = Kind.Id();
        ReadOnlySpan<long> run = file.Integers($"{id}.run.position", 4);
        (Position, Inherited, Seconds) = (run[0], run[1], Number(run[3]));
        long commits = run[2];
        if (Position < 0 || Position > _plan.Length || Inherited < 0 || Inherited > Position || commits < 0 || commits > int.MaxValue / 4)
            throw new CheckpointException($"'{id}.run.position' is [{string.Join(", ", run.ToArray())}], which no stream of " +
                $"{_plan.Length} bytes has.");
        if (!file.Contains($"{id}.run.losses"))
            return;

        Numbers(file.Integers($"{id}.run.losses", _losses.Length), _losses);
        Numbers(file.Integers($"{id}.run.held_out_losses", _heldOutLosses.Length), _heldOutLosses);
        if (commits > 0)
        {
            ReadOnlySpan<long> saved = file.Integers($"{id}.run.commits", (int)commits * 4);
            for (int i = 0; i < saved.Length; i += 4)
                _commits.Add(new LevelCommit((int)saved[i], saved[i + 1], Number(saved[i + 2]), Number(saved[i + 3])));
        }

        IStreamLearner learner = create(Kind);
        // The run's settings, which the checkpoint was opened with, decide the learner's.
        learner.Load(file, $"{id}.model.", ["configuration"]);
        Begin(learner);
        if (learner.Position != Position)
            throw new CheckpointException($"The model of '{id}' stands at byte {learner.Position}, its measurements at byte {Position}.");
        Publish();
    }

    public void Dispose() => _learner?.Dispose();

    // A checkpoint has no 64-bit floating-point type; their bits are exact.
    private static long Bits(double value) => BitConverter.DoubleToInt64Bits(value);

    private static double Number(long bits) => BitConverter.Int64BitsToDouble(bits);

    private static void Numbers(ReadOnlySpan<long> bits, Span<double> numbers)
    {
        for (int i = 0; i < bits.Length; i++)
            numbers[i] = Number(bits[i]);
    }
}
