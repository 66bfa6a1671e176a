using System.Collections.Concurrent;
using System.Numerics.Tensors;
using NestedLearning.Models;
using Xunit;

namespace NestedLearning.CommandLine.Streaming.Tests;

/// <summary>
/// A small learner with real learning: bytes are predicted from how often they followed the byte before. A fast level
/// commits counts of pairs, a slow one counts of single bytes. Chunks, segments and loss blocks divide one another nowhere.
/// </summary>
internal sealed class ByteCountLearner : IStreamLearner
{
    public const int Segment = 96;
    private const int FastChunk = 80;
    private readonly int _slowChunk;
    private const int Alphabet = 128;
    private readonly float[] _pairs = new float[Alphabet * Alphabet];
    private readonly float[] _bytes = new float[Alphabet];
    private readonly float[] _pairSums = new float[Alphabet];
    private float _byteSum;
    private readonly List<long> _uncommittedPairs = [];
    private readonly List<long> _uncommittedBytes = [];
    private float _spare;
    private int _last;
    private int _reading;

    public ByteCountLearner(string name, int slowChunk)
    {
        Name = name;
        _slowChunk = slowChunk;
        Timeline = new LevelTimeline();
    }

    public string Name { get; }

    public int SegmentLength => Segment;

    public long ParameterCount => _pairs.Length + _bytes.Length;

    public long Position { get; private set; }

    public bool Learns { get; set; } = true;

    public IReadOnlyList<string> LevelNames => ["pairs", "bytes"];

    public LevelTimeline Timeline { get; }

    public bool Disposed { get; private set; }

    /// <summary>Called with the position before each segment.</summary>
    public Action<long>? Reading { get; set; }

    /// <summary>From this position on every loss is NaN.</summary>
    public long LossesFailAt { get; set; } = long.MaxValue;

    /// <summary>From this position on a weight is NaN that no prediction uses.</summary>
    public long WeightsFailAt { get; set; } = long.MaxValue;

    public void Read(ReadOnlySpan<byte> segment, Span<float> losses)
    {
        Assert.Equal(1, Interlocked.Increment(ref _reading));
        Assert.InRange(segment.Length, 1, SegmentLength);
        Assert.Equal(segment.Length, losses.Length);
        Reading?.Invoke(Position);
        for (int i = 0; i < segment.Length; i++)
        {
            losses[i] = Position >= LossesFailAt ? float.NaN : Loss(_last, segment[i]);
            Position++;
            if (Learns)
            {
                _uncommittedPairs.Add(_last * Alphabet + segment[i]);
                _uncommittedBytes.Add(segment[i]);
                Commit(0, FastChunk, _uncommittedPairs, _pairs);
                Commit(1, _slowChunk, _uncommittedBytes, _bytes);
            }

            _last = segment[i];
        }

        if (Position >= WeightsFailAt)
            _spare = float.NaN;
        Interlocked.Decrement(ref _reading);
    }

    public double Evaluate(ReadOnlySpan<byte> text, CancellationToken cancellation = default)
    {
        double sum = 0;
        int last = 0;
        foreach (byte b in text)
        {
            sum += Loss(last, b);
            last = b;
        }

        return sum / text.Length;
    }

    public IStreamLearner Fork(string name)
    {
        var file = new SafetensorsFile();
        Save(file, "");
        var fork = new ByteCountLearner(name, _slowChunk) { LossesFailAt = LossesFailAt, WeightsFailAt = WeightsFailAt };
        fork.Load(file, "");
        fork.Learns = Learns;
        return fork;
    }

    public void Save(SafetensorsFile file, string prefix)
    {
        file.Add(prefix + "pairs", [Alphabet, Alphabet], _pairs);
        file.Add(prefix + "bytes", [Alphabet], _bytes);
        file.Add(prefix + "spare", [1], [_spare]);
        file.Add(prefix + "clock", [Position, _last, _uncommittedPairs.Count, _uncommittedBytes.Count, _slowChunk]);
        file.Add(prefix + "uncommitted", [.. _uncommittedPairs, .. _uncommittedBytes, 0]);
    }

    public void Load(SafetensorsFile file, string prefix, IReadOnlyCollection<string>? allow = null)
    {
        ReadOnlySpan<long> clock = file.Integers(prefix + "clock", 5);
        if (clock[4] != _slowChunk)
            throw new CheckpointException($"The slow chunk is {clock[4]}, expected {_slowChunk}.");
        int pairs = (int)clock[2], bytes = (int)clock[3];
        ReadOnlySpan<long> uncommitted = file.Integers(prefix + "uncommitted", pairs + bytes + 1);
        file.Floats(prefix + "pairs", [Alphabet, Alphabet]).CopyTo(_pairs);
        file.Floats(prefix + "bytes", [Alphabet]).CopyTo(_bytes);
        Sum();
        _spare = file.Floats(prefix + "spare")[0];
        (Position, _last) = (clock[0], (int)clock[1]);
        _uncommittedPairs.Clear();
        _uncommittedPairs.AddRange(uncommitted[..pairs]);
        _uncommittedBytes.Clear();
        _uncommittedBytes.AddRange(uncommitted.Slice(pairs, bytes));
    }

    public void Dispose() => Disposed = true;

    private float Loss(int last, byte next)
    {
        float single = (_bytes[next] + 0.1f) / (_byteSum + 0.1f * Alphabet);
        return -MathF.Log((_pairs[last * Alphabet + next] + 8 * single) / (_pairSums[last] + 8));
    }

    private void Sum()
    {
        for (int b = 0; b < Alphabet; b++)
            _pairSums[b] = TensorPrimitives.Sum(_pairs.AsSpan(b * Alphabet, Alphabet));
        _byteSum = TensorPrimitives.Sum(_bytes);
    }

    private void Commit(int level, int chunk, List<long> uncommitted, float[] counts)
    {
        if (uncommitted.Count < chunk)
            return;
        float norm = TensorPrimitives.Norm(counts);
        float[] before = [.. counts];
        // What was seen long ago counts less.
        TensorPrimitives.Multiply(counts, 0.998f, counts);
        foreach (long index in uncommitted)
            counts[index]++;
        uncommitted.Clear();
        Sum();
        Timeline.Add(new LevelCommit(level, Position, TensorPrimitives.Distance(before, counts), norm));
    }
}

/// <summary>Makes byte-counting learners.</summary>
internal sealed class ByteCountFactory : ILearnerFactory
{
    public string DeviceName { get; init; } = "counting";

    public string DeviceDescription => "counts of bytes";

    public ulong Seed { get; init; } = 1;

    public string Configuration { get; init; } = """{"Chunk":80}""";

    public int AtOnce { get; init; } = 1;

    /// <summary>Called with each learner that is made.</summary>
    public Action<LearnerKind, ByteCountLearner>? Made { get; init; }

    /// <summary>Among how many the threads were shared, each time that changed.</summary>
    public ConcurrentQueue<int> Sharing { get; } = [];

    public List<ByteCountLearner> Learners { get; } = [];

    public void ShareThreads(int learners) => Sharing.Enqueue(learners);

    public IStreamLearner Create(LearnerKind kind)
    {
        var learner = new ByteCountLearner(kind.Title(), kind == LearnerKind.OneLevel ? 80 : 400);
        Learners.Add(learner);
        Made?.Invoke(kind, learner);
        return learner;
    }

    public void Dispose()
    {
    }
}
