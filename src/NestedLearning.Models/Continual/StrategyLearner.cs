namespace NestedLearning.Models.Continual;

/// <summary>A stream learner with a strategy against forgetting: rehearsal or a penalty, whose error terms join the stream's.</summary>
public sealed class StrategyLearner : IStreamLearner
{
    private const string OwnPrefix = "strategy.";

    private readonly StreamLearner _learner;
    private readonly ModelConfiguration _configuration;

    private StrategyLearner(StreamLearner learner, ModelConfiguration configuration, LearningStrategy strategy)
    {
        (_learner, _configuration, Strategy) = (learner, configuration, strategy);
        strategy.Begin(learner.Model);
        learner.Terms = strategy;
    }

    /// <summary>A learner at the beginning of its stream.</summary>
    /// <param name="device">Where it is to live.</param>
    /// <param name="configuration">The model.</param>
    /// <param name="strategy">At its beginning, and this learner's alone from here on, which disposes it.</param>
    /// <param name="name">The name, as in tables.</param>
    /// <exception cref="ArgumentException">A setting is out of its range, or the vocabulary is not 256.</exception>
    public static StrategyLearner Create(Device device, ModelConfiguration configuration, LearningStrategy strategy, string name)
    {
        ArgumentNullException.ThrowIfNull(strategy);
        StreamLearner learner = StreamLearner.Create(device, configuration, name);
        try
        {
            return new StrategyLearner(learner, configuration, strategy);
        }
        catch
        {
            learner.Dispose();
            throw;
        }
    }

    /// <summary>What is added to the stream's error terms.</summary>
    public LearningStrategy Strategy { get; }

    /// <inheritdoc/>
    public string Name => _learner.Name;

    /// <inheritdoc/>
    public int SegmentLength => _learner.SegmentLength;

    /// <inheritdoc/>
    public long ParameterCount => _learner.ParameterCount;

    /// <inheritdoc/>
    public long Position => _learner.Position;

    /// <inheritdoc/>
    public bool Learns
    {
        get => _learner.Learns;
        set => _learner.Learns = value;
    }

    /// <inheritdoc/>
    public IReadOnlyList<string> LevelNames => _learner.LevelNames;

    /// <inheritdoc/>
    public LevelTimeline Timeline => _learner.Timeline;

    /// <inheritdoc/>
    public void Read(ReadOnlySpan<byte> segment, Span<float> losses) => _learner.Read(segment, losses);

    /// <inheritdoc/>
    public double Evaluate(ReadOnlySpan<byte> text, CancellationToken cancellation = default) =>
        _learner.Evaluate(text, cancellation);

    /// <inheritdoc/>
    public IStreamLearner Fork(string name)
    {
        var file = new SafetensorsFile();
        Save(file, "");
        StrategyLearner fork = Create(_learner.Model.Device, _configuration, Strategy.Anew(), name);
        fork._learner.Model.TakeRates(file, "");
        fork.Load(file, "");
        fork.Timeline.Clear();
        return fork;
    }

    /// <inheritdoc/>
    public void Save(SafetensorsFile file, string prefix)
    {
        _learner.Save(file, prefix);
        Strategy.Save(file, prefix + OwnPrefix, _learner.Model);
    }

    /// <inheritdoc/>
    public void Load(SafetensorsFile file, string prefix, IReadOnlyCollection<string>? allow = null)
    {
        ArgumentNullException.ThrowIfNull(file);
        (Action take, Action drop) = Strategy.PrepareLoad(file, prefix + OwnPrefix, _learner.Model);
        try
        {
            _learner.Load(file, prefix, allow);
        }
        catch
        {
            drop();
            throw;
        }

        take();
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Strategy.Dispose();
        _learner.Dispose();
    }
}
