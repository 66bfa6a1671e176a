namespace NestedLearning.Models.Continual;

/// <summary>
/// A live learner over a slow level that keeps copies of its weights (docs/specification.md, section 8). After every
/// <see cref="SlotSettings.Period"/> bytes, when the next byte comes, the live weights are committed to a slot. Slots are frozen, read
/// the same stream with fast memories of their own, and all predictions are mixed byte by byte by weights that track the best of
/// them. Of more than <see cref="SlotSettings.Slots"/> slots the most redundant goes: argmin_i ( min_{j≠i} ℓ_j(text_i) − ℓ_i(text_i) ).
/// So what the live learner forgets is still predicted from, without labels of tasks and without rehearsal.
/// </summary>
public sealed partial class SlotLearner : IStreamLearner
{
    private const string OwnPrefix = "slots.";

    private readonly StreamLearner _live;
    private List<Slot> _slots = [];
    private Redundancy _redundancy = new();
    private SlotReading _reading;

    // The end of what was read, for the next slot.
    private byte[] _recent = [];

    // Bytes learned since the last commit to a slot.
    private int _sinceCommit;

    private SlotLearner(StreamLearner live, SlotSettings settings)
    {
        _live = live;
        Settings = settings;
        _reading = new SlotReading(settings, _slots);
    }

    /// <summary>A learner at the beginning of its stream, without slots yet.</summary>
    /// <exception cref="ArgumentException">A setting is out of its range, or the vocabulary is not 256.</exception>
    public static SlotLearner Create(Device device, ModelConfiguration configuration, SlotSettings settings, string name)
    {
        ArgumentNullException.ThrowIfNull(settings);
        settings.Validate();
        return new SlotLearner(StreamLearner.Create(device, configuration, name), settings);
    }

    /// <summary>The learner of a checkpoint, with its configuration and settings, where it stood.</summary>
    /// <exception cref="CheckpointException">The file is damaged or not such a checkpoint.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be read.</exception>
    public static SlotLearner Load(Device device, string path) =>
        Load(device, SafetensorsFile.Load(path, requireChecksum: true), "", Path.GetFileNameWithoutExtension(path));

    /// <summary>The learner that <see cref="Save(SafetensorsFile, string)"/> wrote, with its configuration and settings.</summary>
    /// <exception cref="CheckpointException">Something is missing or does not fit, or an optimizer is not one of this
    /// library's.</exception>
    public static SlotLearner Load(Device device, SafetensorsFile file, string prefix, string name)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(file);
        SlotSettings settings = ConfigurationJson.ReadSlots(file, prefix + OwnPrefix);
        var learner = new SlotLearner(StreamLearner.Load(device, file, prefix, name), settings);
        try
        {
            learner.Take(learner.ReadState(file, prefix));
            return learner;
        }
        catch
        {
            learner.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public string Name => _live.Name;

    /// <summary>What was set.</summary>
    public SlotSettings Settings { get; }

    /// <inheritdoc/>
    public int SegmentLength => _live.SegmentLength;

    /// <summary>The number of parameters: the live learner's, and those of each slot that is filled.</summary>
    public long ParameterCount => _live.ParameterCount * (1 + _slots.Count);

    /// <inheritdoc/>
    public long Position => _live.Position;

    /// <summary>Whether the live learner's levels commit, and slots with them. The weights of the mixture move either way.</summary>
    public bool Learns
    {
        get => _live.Learns;
        set => _live.Learns = value;
    }

    /// <summary>Those of the live learner, and last the level of slots.</summary>
    public IReadOnlyList<string> LevelNames => [.. _live.LevelNames, "slots"];

    /// <summary>
    /// Which level committed when. Of a commit to a slot <see cref="LevelCommit.Change"/> is the distance of the new weights from the
    /// newest slot before, or from zero if there was none.
    /// </summary>
    public LevelTimeline Timeline { get; } = new();

    /// <summary>For each slot, the oldest first, the position of the stream at which it was committed.</summary>
    public IReadOnlyList<long> SlotCommits => [.. _slots.Select(s => s.Committed)];

    /// <summary>The weights of the mixture: of the live learner, then of each slot. They sum to one.</summary>
    public IReadOnlyList<double> Weights => _reading.Weights.ToArray();

    /// <summary>How many slots read along at the moment; the others sleep.</summary>
    public int SlotsAwake => _reading.Awake;

    /// <inheritdoc/>
    public void Read(ReadOnlySpan<byte> segment, Span<float> losses)
    {
        _live.RequireSegment(segment, losses);
        while (!segment.IsEmpty)
        {
            int length = Math.Min(segment.Length, Math.Min(_live.StepsToPieceEnd, _reading.StepsToDecision));
            if (Learns && Settings.Slots > 0)
                length = Math.Min(length, Settings.Period - _sinceCommit % Settings.Period);
            ReadPiece(segment[..length], losses[..length]);
            segment = segment[length..];
            losses = losses[length..];
        }
    }

    /// <summary>
    /// The mean loss in nats a byte over a text read from a fresh stream by the live learner and all slots, with every weight as it is
    /// now; the mixture begins with equal weights. Changes nothing.
    /// </summary>
    /// <param name="text">At least one byte.</param>
    /// <param name="cancellation">Asked before every segment.</param>
    /// <exception cref="ArgumentException">The text is empty.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled.</exception>
    public double Evaluate(ReadOnlySpan<byte> text, CancellationToken cancellation = default)
    {
        if (text.IsEmpty)
            throw new ArgumentException("The text is empty.", nameof(text));
        SequenceState state = _live.Model.NewState();
        using var reading = new SlotReading(Settings, _slots);
        try
        {
            float[] losses = new float[SegmentLength];
            double sum = 0;
            int count = text.Length, last = 0;
            while (!text.IsEmpty)
            {
                int length = Math.Min(Math.Min(text.Length, SegmentLength), reading.StepsToDecision);
                Span<float> mixed = losses.AsSpan(0, length);
                using SlotReading.Prediction prediction = reading.Predict(_slots, text[..length], last);
                _live.Model.ScoreBytes(text[..length], last, ref state, mixed, cancellation);
                reading.Take(prediction, mixed);
                foreach (float loss in mixed)
                    sum += loss;
                last = text[length - 1];
                text = text[length..];
            }

            return sum / count;
        }
        finally
        {
            state.Dispose();
        }
    }

    /// <summary>The live model as its nest of levels, with this stream's fast memory, the mixture and the slots beside it.</summary>
    public ModelDescription Describe()
    {
        ModelDescription live = _live.Describe();
        MemoryDescription[] memories =
        [
            .. live.Memories,
            new MemoryDescription
            {
                Name = "mixture",
                Memory = "weights of the live learner and the slots",
                ContextFlow = "their probabilities of each byte",
                Rule = Readable.Text($"w_i ← (1 − s) w_i p_i / p + s / k; s = {Settings.Share}"),
                Period = 1,
                Bytes = sizeof(double) * (1 + _slots.Count),
            },
            new MemoryDescription
            {
                Name = "slots",
                Memory = $"{_slots.Count} of {Settings.Slots} copies of the weights",
                ContextFlow = "the weights, and the text of their time",
                Rule = "slot ← θ; of too many the one goes whose text another predicts almost as well",
                Period = Settings.Period,
                Parameters = live.Parameters * _slots.Count,
                Bytes = sizeof(float) * live.Parameters * _slots.Count + _slots.Sum(s => s.Text.Length),
            },
        ];
        long slowest = memories.Max(m => m.Period);
        return live with
        {
            Parameters = ParameterCount,
            Memories = [.. memories.OrderBy(m => m.Period).Select(m => m with { Frequency = (double)slowest / m.Period })],
        };
    }

    /// <inheritdoc/>
    public IStreamLearner Fork(string name)
    {
        var file = new SafetensorsFile();
        Save(file, "");
        SlotLearner fork = Load(_live.Model.Device, file, "", name);
        fork.Timeline.Clear();
        return fork;
    }

    /// <summary>Writes a checkpoint, as a whole or not at all.</summary>
    /// <exception cref="IOException">The file cannot be written; what was there is as it was.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be written; it is as it was.</exception>
    public void Save(string path)
    {
        var file = new SafetensorsFile();
        Save(file, "");
        file.Save(path);
    }

    /// <summary>Frees the live learner and the slots.</summary>
    public void Dispose()
    {
        _reading.Dispose();
        foreach (Slot slot in _slots)
            slot.Dispose();
        _live.Dispose();
    }

    // Reads with what a commit that is due leaves, and takes all of it over or nothing.
    private void ReadPiece(ReadOnlySpan<byte> text, Span<float> losses)
    {
        Commit? commit = Learns && Settings.Slots > 0 && _sinceCommit == Settings.Period ? CommitToSlot() : null;
        try
        {
            using SlotReading.Prediction prediction = (commit?.Reading ?? _reading).Predict(commit?.Slots ?? _slots, text, _live.Last);
            _live.ReadPiece(text, losses);
            if (commit is not null)
                Take(commit);
            _reading.Take(prediction, losses);
        }
        catch
        {
            commit?.Dispose();
            throw;
        }

        foreach (LevelCommit level in _live.Timeline.Commits)
            Timeline.Add(level);
        _live.Timeline.Clear();
        if (Settings.Slots == 0)
            return;
        Remember(text);
        _sinceCommit += Learns ? text.Length : 0;
    }

    private void Remember(ReadOnlySpan<byte> text)
    {
        int kept = Math.Min(_recent.Length, Math.Max(0, Settings.TextBytes - text.Length));
        _recent = [.. _recent.AsSpan(_recent.Length - kept), .. text[^Math.Min(text.Length, Settings.TextBytes)..]];
    }

    // Changes nothing: Take does.
    private Commit CommitToSlot()
    {
        Slot slot = Slot.Of(_live.Model, _recent, Position);
        SlotReading reading = _reading.Clone();
        try
        {
            Redundancy redundancy = _redundancy.Clone();
            redundancy.Add(Redundancy.Measure(_slots, slot));
            var entry = new LevelCommit(_live.LevelNames.Count, Position, Slot.Distance(slot.Model, _slots.LastOrDefault()?.Model),
                _slots.Count == 0 ? 0 : Slot.Distance(_slots[^1].Model, other: null));
            reading.Add(_live.State);
            List<Slot> slots = [.. _slots, slot];
            Slot? evicted = null;
            if (slots.Count > Settings.Slots)
            {
                int most = redundancy.Most();
                evicted = slots[most];
                slots.RemoveAt(most);
                redundancy.Remove(most);
                reading.Remove(most);
            }

            return new Commit(slots, redundancy, reading, slot, evicted, entry);
        }
        catch
        {
            slot.Dispose();
            reading.Dispose();
            throw;
        }
    }

    private void Take(Commit commit)
    {
        _reading.Dispose();
        commit.Evicted?.Dispose();
        (_slots, _redundancy, _reading) = (commit.Slots, commit.Redundancy, commit.Reading);
        _sinceCommit = 0;
        Timeline.Add(commit.Entry);
    }

    private void Drop(int slot)
    {
        _reading.Remove(slot);
        _redundancy.Remove(slot);
        _slots[slot].Dispose();
        _slots.RemoveAt(slot);
    }

    // What a commit to a slot leaves, until it is taken over.
    private sealed record Commit(List<Slot> Slots, Redundancy Redundancy, SlotReading Reading, Slot Added, Slot? Evicted,
        LevelCommit Entry) : IDisposable
    {
        public void Dispose()
        {
            Added.Dispose();
            Reading.Dispose();
        }
    }
}
