namespace NestedLearning.Models;

/// <summary>A model that reads a stream of bytes once, learning as it goes.</summary>
public sealed class StreamLearner : IStreamLearner
{
    private const int Bytes = 256;

    private readonly SequenceModel _model;
    private SequenceState _state;
    private int _last;

    private StreamLearner(SequenceModel model, string name)
    {
        _model = model;
        Name = name;
        _state = model.NewState();
        model.Levels.RecordsTimeline = true;
    }

    /// <summary>A learner at the beginning of its stream.</summary>
    /// <exception cref="ArgumentException">A setting is out of its range, or the vocabulary is not 256.</exception>
    public static StreamLearner Create(Device device, ModelConfiguration configuration, string name)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        ArgumentException.ThrowIfNullOrEmpty(name);
        if (configuration.Vocabulary != Bytes)
            throw new ArgumentException($"The vocabulary is {configuration.Vocabulary}, expected {Bytes} for bytes.",
                nameof(configuration));
        return new StreamLearner(new SequenceModel(device, configuration), name);
    }

    /// <summary>The learner of a checkpoint, with its configuration, where it stood.</summary>
    /// <param name="device">Where it is to live.</param>
    /// <param name="path">A file that <see cref="Save(string)"/> wrote.</param>
    /// <exception cref="CheckpointException">The file is damaged or not such a checkpoint, or it has an optimizer that is not one of
    /// this library's: then the learner is created with its configuration and takes over what
    /// <see cref="SafetensorsFile.Load"/> reads.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    /// <exception cref="UnauthorizedAccessException">The file may not be read.</exception>
    public static StreamLearner Load(Device device, string path) =>
        Load(device, SafetensorsFile.Load(path, requireChecksum: true), "", Path.GetFileNameWithoutExtension(path));

    /// <summary>The learner that <see cref="Save(SafetensorsFile, string)"/> wrote, with its configuration, where it stood.</summary>
    /// <exception cref="CheckpointException">Something is missing or does not fit, or an optimizer is not one of this
    /// library's.</exception>
    public static StreamLearner Load(Device device, SafetensorsFile file, string prefix, string name)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(file);
        ArgumentException.ThrowIfNullOrEmpty(name);
        SequenceModel model = SequenceModel.Create(device, file, prefix);
        if (model.Configuration.Vocabulary != Bytes)
        {
            model.Dispose();
            throw new CheckpointException($"The file's vocabulary is {model.Configuration.Vocabulary}, expected {Bytes} for bytes.");
        }

        var learner = new StreamLearner(model, name);
        try
        {
            learner.Load(file, prefix);
            return learner;
        }
        catch
        {
            learner.Dispose();
            throw;
        }
    }

    /// <inheritdoc/>
    public string Name { get; }

    internal SequenceModel Model => _model;

    /// <summary>The fast memory of the stream.</summary>
    internal SequenceState State => _state;

    /// <summary>The byte that the next one is predicted from.</summary>
    internal int Last => _last;

    /// <summary>What is added to the error terms of the stream itself; null is nothing.</summary>
    internal IErrorTerms? Terms { get; set; }

    /// <inheritdoc/>
    public int SegmentLength => _model.Configuration.Levels[0].Chunk;

    /// <inheritdoc/>
    public long ParameterCount => _model.ParameterCount;

    /// <inheritdoc/>
    public long Position { get; private set; }

    /// <inheritdoc/>
    public bool Learns { get; set; } = true;

    /// <summary>
    /// The levels: their rates may be changed while the stream goes on, and go into checkpoints; their clock is the stream's.
    /// </summary>
    public IReadOnlyList<Level> Levels => _model.Levels.Levels;

    /// <inheritdoc/>
    public IReadOnlyList<string> LevelNames => [.. _model.Levels.Levels.Select(l => l.Name)];

    /// <inheritdoc/>
    public LevelTimeline Timeline => _model.Levels.Timeline;

    /// <summary>
    /// How often fast memories diverged: what they predicted, or its gradient, was not finite. Their context then ended before its time.
    /// </summary>
    public long Restarts { get; private set; }

    /// <inheritdoc/>
    /// <remarks>
    /// A fast memory whose own writes go beyond what is stable (docs/specification.md, section 5) grows within a context until a prediction
    /// is not finite. It then returns to its learned start, which <see cref="Restarts"/> counts, and the bytes are read from there.
    /// </remarks>
    /// <exception cref="NotFiniteNumberException">A prediction from the start, or its gradient, is not finite.</exception>
    public void Read(ReadOnlySpan<byte> segment, Span<float> losses)
    {
        RequireSegment(segment, losses);
        while (!segment.IsEmpty)
        {
            int length = Math.Min(segment.Length, StepsToPieceEnd);
            ReadPiece(segment[..length], losses[..length]);
            segment = segment[length..];
            losses = losses[length..];
        }
    }

    /// <inheritdoc/>
    public double Evaluate(ReadOnlySpan<byte> text, CancellationToken cancellation = default)
    {
        if (text.IsEmpty)
            throw new ArgumentException("The text is empty.", nameof(text));
        return _model.MeanLoss(text, cancellation);
    }

    /// <summary>The probability of each of the 256 bytes to come next. Changes nothing.</summary>
    public double[] NextByte() => new Sampler().Distribution(_model.NextLogits([_last], _state));

    /// <summary>Bytes that could come next, drawn one after the other; the weights and the stream stay as they are.</summary>
    /// <exception cref="ArgumentException">The sampler's settings are out of their range.</exception>
    /// <exception cref="ArgumentOutOfRangeException">Fewer than 0 bytes are asked for.</exception>
    /// <exception cref="OperationCanceledException">It was cancelled, which is asked before every byte.</exception>
    public byte[] Generate(int count, Sampler? sampler = null, CancellationToken cancellation = default) =>
        Array.ConvertAll(_model.Generate([_last], count, sampler, _state, cancellation), b => (byte)b);

    /// <summary>The model as its nest of levels, with this stream's fast memory as it is.</summary>
    public ModelDescription Describe() => _model.Describe(_state);

    /// <inheritdoc/>
    public IStreamLearner Fork(string name)
    {
        var file = new SafetensorsFile();
        Save(file, "");
        StreamLearner fork = Create(_model.Device, _model.Configuration, name);
        fork._model.TakeRates(file, "");
        fork.Load(file, "");
        fork.Learns = Learns;
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

    /// <inheritdoc/>
    public void Save(SafetensorsFile file, string prefix)
    {
        ArgumentNullException.ThrowIfNull(file);
        _model.Save(file, prefix);
        _state.SaveTensors(file, prefix + "state.");
        file.Add(prefix + "stream", [Position, _last, Learns ? 1 : 0]);
        if (Restarts > 0)
            file.Add(prefix + "restarts", [Restarts]);
    }

    /// <inheritdoc/>
    public void Load(SafetensorsFile file, string prefix, IReadOnlyCollection<string>? allow = null)
    {
        ArgumentNullException.ThrowIfNull(file);
        Action loadModel = _model.PrepareLoad(file, prefix, allow);
        ReadOnlySpan<long> stream = file.Integers(prefix + "stream", 3);
        (long position, long last, long learns) = (stream[0], stream[1], stream[2]);
        if (position < 0 || last is < 0 or > 255 || learns is < 0 or > 1)
            throw new CheckpointException($"'{prefix}stream' is [{position}, {last}, {learns}], expected a position, a byte, and 0 or 1.");
        long restarts = file.Contains(prefix + "restarts") ? file.Integers(prefix + "restarts", 1)[0] : 0;
        if (restarts < 0)
            throw new CheckpointException($"'{prefix}restarts' is {restarts}, expected at least 0.");
        SequenceState state = SequenceState.LoadTensors(_model, 1, file, prefix + "state.");
        loadModel();
        _state.Dispose();
        _state = state;
        (Position, _last, Learns, Restarts) = (position, (int)last, learns == 1, restarts);
    }

    /// <summary>Frees the model and its memories.</summary>
    public void Dispose()
    {
        _state.Dispose();
        _model.Dispose();
    }

    /// <summary>How many bytes may be read in one go: up to the end of a context or the next commit.</summary>
    internal int StepsToPieceEnd =>
        Math.Min(_model.StepsToContextEnd(_state), Learns ? _model.Levels.StepsToNextCommit : int.MaxValue);

    /// <summary>That these are the arguments of a call of <see cref="Read"/>.</summary>
    internal void RequireSegment(ReadOnlySpan<byte> segment, ReadOnlySpan<float> losses)
    {
        if (segment.IsEmpty || segment.Length > SegmentLength)
            throw new ArgumentException($"The segment has {segment.Length} bytes, expected 1 to {SegmentLength}.", nameof(segment));
        if (losses.Length != segment.Length)
            throw new ArgumentException($"There is room for {losses.Length} losses, expected {segment.Length}.", nameof(losses));
    }

    /// <summary>Reads at most <see cref="StepsToPieceEnd"/> bytes, or throws and is as it was.</summary>
    internal void ReadPiece(ReadOnlySpan<byte> text, Span<float> losses)
    {
        try
        {
            ReadPiece(text, losses, _state);
        }
        catch (NotFiniteNumberException) when (_state.ContextPosition > 0)
        {
            using SequenceState start = _model.NewState();
            ReadPiece(text, losses, start);
            Restarts++;
        }
    }

    private void ReadPiece(ReadOnlySpan<byte> text, Span<float> losses, SequenceState from)
    {
        using var tape = new Tape(_model.Device, recording: Learns);
        (Variable predicted, SequenceState next) = _model.PredictBytes(tape, text, _last, from, losses);
        try
        {
            if (SequenceModel.FirstNotFinite(losses) is { } loss)
                throw new NotFiniteNumberException($"'{Name}' predicts with loss {loss} at byte {Position}; it stopped before " +
                    "learning from it.", loss);
            if (Learns)
                Learn(tape, predicted, text);
        }
        catch
        {
            next.Dispose();
            throw;
        }

        _state.Dispose();
        _state = next;
        _last = text[^1];
        Position += text.Length;
    }

    private void Learn(Tape tape, Variable predicted, ReadOnlySpan<byte> text)
    {
        int length = text.Length;
        byte[] read = Terms is null ? [] : text.ToArray();
        using Tensor seed = _model.Device.Full(predicted.Shape, 1);
        _model.Levels.Learn(length, () =>
        {
            tape.Backward(predicted, seed);
            Terms?.Add(_model, read, _last);
        });
        Terms?.Committed(_model, read, _last);
    }
}
