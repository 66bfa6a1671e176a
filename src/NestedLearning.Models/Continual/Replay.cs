namespace NestedLearning.Models.Continual;

/// <summary>
/// Experience replay: with each segment of the stream an old one is learned from again, from a fresh state. Which old ones there are is
/// decided by reservoir sampling (Vitter 1985, algorithm R; for continual learning Chaudhry et al. 2019, arXiv 1902.10486): each
/// segment so far is kept with the same probability.
/// </summary>
public sealed class Replay : LearningStrategy
{
    private readonly List<byte[]> _kept = [];
    private readonly int _capacity;
    private readonly float _weight;
    private readonly ulong _seed;
    private long _seen;

    /// <param name="segments">The segments that are kept, at least 1.</param>
    /// <param name="weight">What an old segment counts, a new one being 1; finite and at least 0.</param>
    /// <param name="seed">Of what is kept and replayed.</param>
    /// <exception cref="ArgumentOutOfRangeException">An argument is out of its range.</exception>
    public Replay(int segments, float weight, ulong seed)
    {
        if (segments < 1)
            throw new ArgumentOutOfRangeException(nameof(segments), segments, $"segments is {segments}, expected at least 1.");
        if (!(weight >= 0 && float.IsFinite(weight)))
            throw new ArgumentOutOfRangeException(nameof(weight), weight, $"weight is {weight}, expected a finite number of at least 0.");
        (_capacity, _weight, _seed) = (segments, weight, seed);
    }

    /// <summary>The segments that are kept, each after the byte before it.</summary>
    public IReadOnlyList<byte[]> Kept => _kept;

    /// <inheritdoc/>
    public override LearningStrategy Anew() => new Replay(_capacity, _weight, _seed);

    private protected override void Forget()
    {
    }

    private protected override void Add(SequenceModel model, ReadOnlySpan<byte> text, int last)
    {
        if (_kept.Count == 0 || _weight == 0)
            return;
        byte[] old = _kept[new CounterRandom(_seed, 1).Below((ulong)_seen, _kept.Count)];
        using SequenceState state = model.NewState();
        using var tape = new Tape(model.Device);
        float[] losses = new float[old.Length - 1];
        (Variable predicted, SequenceState next) = model.PredictBytes(tape, old.AsSpan(1), old[0], state, losses);
        next.Dispose();
        // Error terms are divided by the bytes of the stream that they stand beside.
        using Tensor seed = model.Device.Full(predicted.Shape, _weight * text.Length / losses.Length);
        tape.Backward(predicted, seed);
    }

    private protected override void Committed(SequenceModel model, ReadOnlySpan<byte> text, int last)
    {
        byte[] segment = [(byte)last, .. text];
        if (_kept.Count < _capacity)
        {
            _kept.Add(segment);
        }
        else
        {
            // Of as many as an index can count, the next is kept with probability capacity / seen.
            int place = new CounterRandom(_seed, 2).Below((ulong)_seen, (int)Math.Min(_seen + 1, int.MaxValue));
            if (place < _capacity)
                _kept[place] = segment;
        }

        _seen++;
    }

    internal override void Save(SafetensorsFile file, string prefix, SequenceModel model)
    {
        file.Add(prefix + "replay", [_seen, _kept.Count]);
        for (int i = 0; i < _kept.Count; i++)
        {
            file.Add($"{prefix}{i}.length", [_kept[i].Length]);
            file.Add($"{prefix}{i}.bytes", SlotLearner.Packed(_kept[i]));
        }
    }

    internal override (Action Take, Action Drop) PrepareLoad(SafetensorsFile file, string prefix, SequenceModel model)
    {
        ReadOnlySpan<long> replay = file.Integers(prefix + "replay", 2);
        (long seen, long count) = (replay[0], replay[1]);
        if (seen < 0 || count < 0 || count > _capacity)
            throw new CheckpointException($"'{prefix}replay' is [{seen}, {count}], expected segments seen, and at most {_capacity} kept.");
        var kept = new List<byte[]>();
        for (int i = 0; i < count; i++)
        {
            long length = file.Integers($"{prefix}{i}.length", 1)[0];
            if (length < 2)
                throw new CheckpointException($"'{prefix}{i}.length' is {length}, expected at least 2.");
            kept.Add(SlotLearner.Unpacked(file, $"{prefix}{i}.bytes", length));
        }

        return (Take, Drop);

        static void Drop()
        {
            // There is no memory of a device.
        }

        void Take()
        {
            _seen = seen;
            _kept.Clear();
            _kept.AddRange(kept);
        }
    }
}
