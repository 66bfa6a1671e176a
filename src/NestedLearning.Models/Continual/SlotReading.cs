namespace NestedLearning.Models.Continual;

/// <summary>
/// The fast state of a live learner and its slots in one stream: which slots are awake, their fast memories, and the weights
/// of the mixture. Member 0 is the live learner, whose own fast memory stands elsewhere; slot i is member i + 1.
/// </summary>
internal sealed class SlotReading : IDisposable
{
    // How a slot is saved.
    private const long Asleep = 0, New = 1, WithMemory = 2;

    private readonly SlotSettings _settings;
    private readonly List<SlotState> _states;
    private readonly FixedShare _shares;

    /// <summary>A new stream: every slot is awake, and all members have the same weight.</summary>
    public SlotReading(SlotSettings settings, IReadOnlyList<Slot> slots)
    {
        _settings = settings;
        _states = [.. slots.Select(_ => new SlotState { Awake = true })];
        _shares = new FixedShare(settings.Share, slots.Count + 1);
    }

    private SlotReading(SlotSettings settings, List<SlotState> states, FixedShare shares) =>
        (_settings, _states, _shares) = (settings, states, shares);

    /// <summary>An independent copy.</summary>
    public SlotReading Clone()
    {
        List<SlotState> states = [.. _states.Select(s => new SlotState { Awake = s.Awake, Memory = s.Memory?.Clone() })];
        return new SlotReading(_settings, states, _shares.Clone()) { Position = Position };
    }

    /// <summary>Bytes read.</summary>
    public long Position { get; private set; }

    /// <summary>The members' weights.</summary>
    public ReadOnlySpan<double> Weights => _shares.Weights;

    /// <summary>How many slots read along.</summary>
    public int Awake => _states.Count(s => s.Awake);

    /// <summary>Bytes until slots may wake or fall asleep.</summary>
    public int StepsToDecision => _settings.ProbePeriod == 0 || _states.Count == 0 ? int.MaxValue
        : _settings.ProbeBytes - (int)(Position % _settings.ProbeBytes);

    /// <summary>
    /// What the slots that are awake predict of at most <see cref="StepsToDecision"/> bytes. Changes nothing: <see cref="Take"/> does.
    /// </summary>
    /// <exception cref="NotFiniteNumberException">A loss is not finite.</exception>
    public Prediction Predict(IReadOnlyList<Slot> slots, ReadOnlySpan<byte> text, int last)
    {
        var prediction = new Prediction(slots.Count, text.Length);
        try
        {
            for (int i = 0; i < slots.Count; i++)
            {
                if (!_states[i].Awake)
                    continue;
                SequenceState next = _states[i].Memory?.Clone() ?? slots[i].Model.NewState();
                prediction.Next[i] = next;
                try
                {
                    slots[i].Model.ScoreBytes(text, last, ref next, prediction.Losses[i]);
                }
                finally
                {
                    prediction.Next[i] = next;
                }

                if (SequenceModel.FirstNotFinite(prediction.Losses[i]) is { } loss)
                    throw new NotFiniteNumberException($"Slot {i} predicts with loss {loss}.", loss);
            }

            return prediction;
        }
        catch
        {
            prediction.Dispose();
            throw;
        }
    }

    /// <summary>Mixes the live learner's losses with those of the slots, byte by byte, and moves on. Nothing here can fail.</summary>
    /// <param name="prediction">What they predicted; its states are taken over.</param>
    /// <param name="losses">Those of the live learner; the mixture's are written.</param>
    public void Take(Prediction prediction, Span<float> losses)
    {
        Span<double> members = stackalloc double[_states.Count + 1];
        for (int t = 0; t < losses.Length; t++)
        {
            members[0] = losses[t];
            for (int i = 0; i < _states.Count; i++)
                members[i + 1] = _states[i].Awake ? prediction.Losses[i][t] : double.NaN;
            losses[t] = (float)_shares.Step(members);
        }

        for (int i = 0; i < _states.Count; i++)
        {
            if (!_states[i].Awake)
                continue;
            _states[i].Memory?.Dispose();
            _states[i].Memory = prediction.Next[i];
            prediction.Next[i] = null;
        }

        Position += losses.Length;
        Decide();
    }

    /// <summary>Another slot, which takes half of the live learner's weight and goes on with its fast memory.</summary>
    public void Add(SequenceState live)
    {
        _states.Add(new SlotState { Awake = true, Memory = live.Clone() });
        _shares.Split(0);
    }

    /// <summary>A slot goes; the live learner inherits its weight.</summary>
    public void Remove(int slot)
    {
        _states[slot].Memory?.Dispose();
        _states.RemoveAt(slot);
        _shares.Remove(slot + 1, heir: 0);
    }

    public void Save(SafetensorsFile file, string prefix)
    {
        file.Add(prefix + "position", [Position]);
        file.Add(prefix + "weights", _shares.Save());
        file.Add(prefix + "awake", [.. _states.Select(s => s.Awake ? s.Memory is null ? New : WithMemory : Asleep)]);
        for (int i = 0; i < _states.Count; i++)
            _states[i].Memory?.SaveTensors(file, $"{prefix}{i}.");
    }

    /// <exception cref="CheckpointException">Something is missing or does not fit.</exception>
    public static SlotReading Load(SlotSettings settings, IReadOnlyList<Slot> slots, SafetensorsFile file, string prefix)
    {
        long position = file.Integers(prefix + "position", 1)[0];
        if (position < 0)
            throw new CheckpointException($"'{prefix}position' is {position}, expected at least 0.");
        FixedShare shares = FixedShare.Load(settings.Share, file.Integers(prefix + "weights", slots.Count + 1), slots.Count + 1,
            prefix + "weights");
        var states = new List<SlotState>();
        try
        {
            long[] awake = file.Integers(prefix + "awake", slots.Count).ToArray();
            for (int i = 0; i < awake.Length; i++)
            {
                if (awake[i] is < Asleep or > WithMemory)
                    throw new CheckpointException($"'{prefix}awake' has {awake[i]}, expected {Asleep} to {WithMemory}.");
                states.Add(new SlotState
                {
                    Awake = awake[i] != Asleep,
                    Memory = awake[i] == WithMemory ? SequenceState.LoadTensors(slots[i].Model, 1, file, $"{prefix}{i}.") : null,
                });
            }
        }
        catch
        {
            states.ForEach(s => s.Memory?.Dispose());
            throw;
        }

        return new SlotReading(settings, states, shares) { Position = position };
    }

    public void Dispose() => _states.ForEach(s => s.Memory?.Dispose());

    private void Decide()
    {
        if (_settings.ProbePeriod == 0 || Position % _settings.ProbeBytes != 0)
            return;
        bool probe = Position % _settings.ProbePeriod == 0;
        for (int i = 0; i < _states.Count; i++)
        {
            if (probe)
            {
                _states[i].Awake = true;
            }
            else if (_shares.Weights[i + 1] < _settings.SleepBelow)
            {
                _states[i].Awake = false;
                _states[i].Memory?.Dispose();
                _states[i].Memory = null;
            }
        }
    }

    /// <summary>A slot in this stream.</summary>
    private sealed class SlotState
    {
        public bool Awake { get; set; }

        /// <summary>Its fast memory; null is a new stream's: what it would have read while it slept is skipped.</summary>
        public SequenceState? Memory { get; set; }
    }

    /// <summary>What slots predict of some bytes, and their fast memories after them.</summary>
    internal sealed class Prediction(int slots, int length) : IDisposable
    {
        public float[][] Losses { get; } = [.. Enumerable.Range(0, slots).Select(_ => new float[length])];

        public SequenceState?[] Next { get; } = new SequenceState?[slots];

        public void Dispose()
        {
            foreach (SequenceState? state in Next)
                state?.Dispose();
        }
    }
}
