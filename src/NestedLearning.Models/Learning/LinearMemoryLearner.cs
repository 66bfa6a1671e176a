using System.Numerics.Tensors;

namespace NestedLearning.Models.Learning;

/// <summary>
/// Linear regression by a memory S [D, 1] that the normalised delta rule writes, one step an example,
/// <code>
/// S ← S + β xᵀ(y − x S)/‖x‖²,   β = sigmoid(b)
/// </code>
/// with its initial state and b learned by the outer loop.
/// </summary>
public sealed class LinearMemoryLearner : MemoryLearner<RegressionEpisode>, IDisposable
{
    private readonly Parameter _rate;

    /// <summary>A learner that begins at a given start.</summary>
    /// <param name="device">Where it lives.</param>
    /// <param name="start">S₀ [D] before any outer learning.</param>
    /// <param name="learningRate">Of the outer loop's AdamW.</param>
    /// <param name="learnsStart">False: only b is learned, and every episode begins at the given start.</param>
    public LinearMemoryLearner(Device device, ReadOnlySpan<float> start, float learningRate, bool learnsStart = true)
    {
        ArgumentNullException.ThrowIfNull(device);
        Device = device;
        Start = new Parameter("start", device.From([1, start.Length, 1], start), decays: false);
        _rate = new Parameter("rate", device.Zeros([1]), decays: false);
        Levels = new LevelSystem(new Level("outer", 1, learningRate, new Adam(), learnsStart ? [Start, _rate] : [_rate]));
    }

    /// <summary>The initial memory [1, D, 1] of every episode.</summary>
    public Parameter Start { get; }

    /// <inheritdoc/>
    public override Device Device { get; }

    /// <inheritdoc/>
    public override LevelSystem Levels { get; }

    /// <inheritdoc/>
    protected override IReadOnlyList<Parameter> Starts => [Start];

    /// <summary>Frees the parameters.</summary>
    public void Dispose()
    {
        Levels.Dispose();
        Start.Dispose();
    }

    /// <inheritdoc/>
    protected override int Batch(RegressionEpisode episode)
    {
        ArgumentNullException.ThrowIfNull(episode);
        return episode.Batch;
    }

    /// <inheritdoc/>
    protected override IReadOnlyList<Variable> Adapt(Tape tape, RegressionEpisode episode, IReadOnlyList<Variable> memories)
    {
        ArgumentNullException.ThrowIfNull(tape);
        ArgumentNullException.ThrowIfNull(episode);
        ArgumentNullException.ThrowIfNull(memories);
        (float[] x, float[] y) = episode.Slice(0, episode.Support);
        if (y.Length == 0)
            return memories;
        // Key x/‖x‖ and target y/‖x‖ make the normalised step.
        for (int i = 0; i < y.Length; i++)
        {
            Span<float> row = x.AsSpan(i * episode.Dim, episode.Dim);
            float scale = 1 / MathF.Sqrt(Math.Max(1e-12f, TensorPrimitives.SumOfSquares<float>(row)));
            TensorPrimitives.Multiply(row, scale, row);
            y[i] *= scale;
        }

        Shape examples = [episode.Batch, episode.Support, 1];
        Variable key = Input(tape, [episode.Batch, episode.Support, 1, episode.Dim], x);
        Variable beta = tape.Reshape(tape.UseStart(_rate, [y.Length]), examples);
        beta = tape.Activate(Activation.Sigmoid, beta);
        var settings = new ScanSettings(1, ScanRead.Before, ScanWrite.Scaled, ScanSettings.DefaultChunk);
        return [tape.Scan(new ScanVariables(key, key, Input(tape, [episode.Batch, episode.Support, 1, 1], y), Erase: beta, Theta: beta,
            S0: memories[0]), settings).S];
    }

    /// <inheritdoc/>
    protected override Variable QueryLoss(Tape tape, RegressionEpisode episode, IReadOnlyList<Variable> memories)
    {
        ArgumentNullException.ThrowIfNull(tape);
        ArgumentNullException.ThrowIfNull(episode);
        ArgumentNullException.ThrowIfNull(memories);
        int queries = episode.Time - episode.Support;
        (float[] x, float[] y) = episode.Slice(episode.Support, episode.Time);
        Variable query = Input(tape, [episode.Batch, queries, 1, episode.Dim], x),
            nothing = Input(tape, [episode.Batch, queries, 1, 1], new float[y.Length]);
        var settings = new ScanSettings(1, ScanRead.Before, ScanWrite.Given, ScanSettings.DefaultChunk);
        Variable prediction = tape.Scan(new ScanVariables(query, query, nothing, S0: memories[0]), settings).O;
        return tape.MeanSquaredError(prediction, tape.Keep(Device.From(prediction.Shape, y)));
    }

    private Variable Input(Tape tape, Shape shape, float[] values) => tape.Input(tape.Keep(Device.From(shape, values)));
}
