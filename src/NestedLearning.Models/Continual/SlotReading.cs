namespace NestedLearning.Models.Continual;

/// <summary>
/// The fast state of a live learner and its slots in one stream: which slots are awake, their fast memories, and the weights
/// of the mixture. Member 0 is the live learner, whose own fast memory stands elsewhere; slot i is member i + 1.
/// </summary>
internal sealed class SlotReading : IDisposable
{
    private readonly SlotSettings _settings;
    private readonly List<SequenceState?> _states;
    private FixedShare _shares;

    /// <summary>A new stream: every slot is awake, and all members have the same weight.</summary>
    public SlotReading(SlotSettings settings, IReadOnlyList<Slot> slots)
    {
        _settings = settings;
        _states = [.. slots.Select(s => s.Model.NewState())];
        _shares = new FixedShare(settings.Share, slots.Count + 1);
    }

    private SlotReading(SlotSettings settings, List<SequenceState?> states, FixedShare shares) =>
        (_settings, _states, _shares) = (settings, states, shares);

    /// <summary>Bytes read.</summary>
    public long Position { get; private set; }

    /// <summary>The members' weights.</summary>
    public ReadOnlySpan<double> Weights => _shares.Weights;

    /// <summary>How many slots read along.</summary>
    public int Awake => _states.Count(s => s is not null);

    /// <summary>Bytes until slots may wake or fall asleep.</summary>
    public int StepsToDecision => _settings.ProbePeriod == 0 || _states.Count == 0 ? int.MaxValue
        : _settings.ProbeBytes - (int)(Position % _settings.ProbeBytes);

    /// <summary>Whether a slot reads along.</summary>
    public bool IsAwake(int slot) => _states[slot] is not null;

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
                if (_states[i] is not { } state)
                    continue;
                SequenceState next = state.Clone();
                prediction.Next[i] = next;
                try
                {
                    slots[i].Predict(text, last, ref next, prediction.Losses[i]);
                }
                finally
                {
                    prediction.Next[i] = next;
                }

                foreach (float loss in prediction.Losses[i])
                {
                    if (!float.IsFinite(loss))
                        throw new NotFiniteNumberException($"Slot {i} predicts with loss {loss}.", loss);
                }
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
    /// <param name="slots">The slots.</param>
    /// <param name="prediction">What they predicted; its states are taken over.</param>
    /// <param name="losses">Those of the live learner; the mixture's are written.</param>
    public void Take(IReadOnlyList<Slot> slots, Prediction prediction, Span<float> losses)
    {
        Span<double> members = stackalloc double[slots.Count + 1];
        for (int t = 0; t < losses.Length; t++)
        {
            members[0] = losses[t];
            for (int i = 0; i < slots.Count; i++)
                members[i + 1] = _states[i] is null ? double.NaN : prediction.Losses[i][t];
            losses[t] = (float)_shares.Step(members);
        }

        for (int i = 0; i < slots.Count; i++)
        {
            if (_states[i] is null)
                continue;
            _states[i]!.Dispose();
            _states[i] = prediction.Next[i];
            prediction.Next[i] = null;
        }

        Position += losses.Length;
        Decide(slots);
    }

    /// <summary>Another slot, which takes half of the live learner's weight and goes on with its fast memory.</summary>
    public void Add(SequenceState live)
    {
        _states.Add(live.Clone());
        _shares.Split(0);
    }

    /// <summary>A slot goes; the live learner inherits its weight.</summary>
    public void Remove(int slot)
    {
        _states[slot]?.Dispose();
        _states.RemoveAt(slot);
        _shares.Remove(slot + 1, heir: 0);
    }

    public void Save(SafetensorsFile file, string prefix)
    {
        file.Add(prefix + "position", [Position]);
        file.Add(prefix + "weights", _shares.Save());
        file.Add(prefix + "awake", [.. _states.Select(s => s is null ? 0L : 1)]);
        for (int i = 0; i < _states.Count; i++)
            _states[i]?.SaveTensors(file, $"{prefix}{i}.");
    }

    /// <exception cref="CheckpointException">Something is missing or does not fit.</exception>
    public static SlotReading Load(SlotSettings settings, IReadOnlyList<Slot> slots, SafetensorsFile file, string prefix)
    {
        long position = file.Integers(prefix + "position", 1)[0];
        if (position < 0)
            throw new CheckpointException($"'{prefix}position' is {position}, expected at least 0.");
        FixedShare shares = FixedShare.Load(settings.Share, file.Integers(prefix + "weights", slots.Count + 1), slots.Count + 1,
            prefix + "weights");
        var states = new List<SequenceState?>();
        try
        {
            long[] awake = file.Integers(prefix + "awake", slots.Count).ToArray();
            for (int i = 0; i < awake.Length; i++)
            {
                if (awake[i] is not (0 or 1))
                    throw new CheckpointException($"'{prefix}awake' has {awake[i]}, expected 0 or 1.");
                states.Add(awake[i] == 0 ? null : SequenceState.LoadTensors(slots[i].Model, 1, file, $"{prefix}{i}."));
            }
        }
        catch
        {
            states.ForEach(s => s?.Dispose());
            throw;
        }

        return new SlotReading(settings, states, shares) { Position = position };
    }

    public void Dispose() => _states.ForEach(s => s?.Dispose());

    private void Decide(IReadOnlyList<Slot> slots)
    {
        if (_settings.ProbePeriod == 0 || Position % _settings.ProbeBytes != 0)
            return;
        bool probe = Position % _settings.ProbePeriod == 0;
        for (int i = 0; i < slots.Count; i++)
        {
            if (probe)
            {
                // What it would have read since it fell asleep is skipped.
                _states[i] ??= slots[i].Model.NewState();
            }
            else if (_shares.Weights[i + 1] < _settings.SleepBelow)
            {
                _states[i]?.Dispose();
                _states[i] = null;
            }
        }
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
