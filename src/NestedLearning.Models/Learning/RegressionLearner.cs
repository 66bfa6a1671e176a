namespace NestedLearning.Models.Learning;

/// <summary>
/// A sequence model that learns functions in context: at each example it is given the one before, with its answer, and the
/// new input, and predicts the new answer. Token t is a projection of [x_{t−1}, y_{t−1}, x_t].
/// </summary>
public sealed class RegressionLearner : IEpisodicLearner<RegressionEpisode>, IDisposable
{
    private readonly SequenceModel _model;
    private readonly Parameter _input;
    private readonly Parameter _output;

    /// <summary>A learner over a model of this configuration, whose vocabulary is not used.</summary>
    /// <param name="device">Where it lives.</param>
    /// <param name="configuration">The blocks between the projections; its first level's learning rate is theirs too.</param>
    /// <param name="dim">The dimension of inputs.</param>
    public RegressionLearner(Device device, ModelConfiguration configuration, int dim)
    {
        ArgumentNullException.ThrowIfNull(configuration);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(dim);
        _model = new SequenceModel(device, configuration);
        var make = new ParameterFactory(device, ~configuration.Seed);
        int width = 2 * dim + 1;
        _input = make.Normal("regression.input", [width, configuration.Dim], 1 / Math.Sqrt(width));
        _output = make.Normal("regression.output", [configuration.Dim, 1], 1 / Math.Sqrt(configuration.Dim));
        LevelConfiguration first = configuration.Levels[0];
        Levels = new LevelSystem([
            .. _model.Levels.Levels,
            new Level("regression", first.Chunk, first.LearningRate, new Adam { Beta2 = configuration.Beta2 }, [_input, _output])
            {
                Reduction = ErrorReduction.Mean, ClipNorm = configuration.ClipNorm, WarmupCommits = configuration.WarmupCommits,
            },
        ]);
    }

    /// <inheritdoc/>
    public Device Device => _model.Device;

    /// <inheritdoc/>
    public LevelSystem Levels { get; }

    /// <summary>The number of parameters.</summary>
    public long ParameterCount => _model.ParameterCount + _input.Value.Count + _output.Value.Count;

    /// <inheritdoc/>
    /// <exception cref="NotSupportedException">First order is asked for: every example is a query, so nothing comes before the
    /// first.</exception>
    public Variable QueryLoss(Tape tape, RegressionEpisode episode, MetaGradient order)
    {
        ArgumentNullException.ThrowIfNull(tape);
        ArgumentNullException.ThrowIfNull(episode);
        if (order == MetaGradient.FirstOrder)
            throw new NotSupportedException("Every example is a query; there is no support to stop the gradient behind.");
        Variable prediction = Predict(tape, episode);
        return tape.MeanSquaredError(prediction, tape.Keep(Device.From(prediction.Shape, episode.Y)));
    }

    /// <summary>For each example, the prediction from those before it [B, T].</summary>
    public float[] PredictEach(RegressionEpisode episode)
    {
        ArgumentNullException.ThrowIfNull(episode);
        using var tape = new Tape(Device, recording: false);
        return Predict(tape, episode).Value.ToArray();
    }

    /// <summary>Frees the parameters.</summary>
    public void Dispose()
    {
        Levels.Dispose();
        _model.Dispose();
    }

    private Variable Predict(Tape tape, RegressionEpisode episode)
    {
        int dim = episode.Dim, width = 2 * dim + 1, time = episode.Time;
        float[] tokens = new float[episode.Y.Length * width];
        for (int i = 0; i < episode.Y.Length; i++)
        {
            Span<float> token = tokens.AsSpan(i * width, width);
            if (i % time > 0)
            {
                episode.X.AsSpan((i - 1) * dim, dim).CopyTo(token);
                token[dim] = episode.Y[i - 1];
            }

            episode.X.AsSpan(i * dim, dim).CopyTo(token[(dim + 1)..]);
        }

        SequenceState state = tape.Keep(_model.NewState(episode.Batch));
        Variable x = tape.Linear(tape.Input(tape.Keep(Device.From([episode.Batch, time, width], tokens))), tape.Use(_input));
        (Variable y, SequenceState next) = _model.Transform(tape, x, state);
        next.Dispose();
        return tape.Linear(y, tape.Use(_output));
    }
}
