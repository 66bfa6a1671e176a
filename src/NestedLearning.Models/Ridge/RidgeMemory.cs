namespace NestedLearning.Models;

/// <summary>
/// A memory of second order (docs/specification.md, section 8): keys of D features are answered by x W, where W is always the exact
/// minimiser of Σ ‖x W − y‖² + δ ‖W‖² over all samples so far (older ones weighted by λ for each sample since). With λ = 1 it is joint
/// training, whatever the order of the samples, without keeping any of them.
/// <para>
/// Targets are vectors, or labels: a label is a target of one where its output is and zero elsewhere, and what has the highest answer
/// is the answer's label. A label that was never seen gets an output of its own, as if it had been there, with targets of zero.
/// </para>
/// </summary>
public sealed class RidgeMemory : IDisposable
{
    private const string FactorKey = "factor", WeightKey = "w", LowKey = "w_low", LabelsKey = "labels", SamplesKey = "samples";

    private readonly Dictionary<int, int> _columns = [];
    private readonly List<int> _labels = [];
    private RidgeState _state;

    /// <summary>A memory that has seen nothing.</summary>
    /// <param name="device">Where it lives.</param>
    /// <param name="configuration">What it is.</param>
    /// <param name="outputs">V, at least 0. Labels 0 to V − 1 are known from the start.</param>
    /// <exception cref="ArgumentException">A setting or the number of outputs is out of its range.</exception>
    public RidgeMemory(Device device, RidgeMemoryConfiguration configuration, int outputs = 0)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(configuration);
        configuration.Validate();
        Configuration = configuration;
        _state = new RidgeState(device, configuration.Features, outputs, configuration.Regularizer);
        Name([.. Enumerable.Range(0, outputs)]);
    }

    private RidgeMemory(RidgeMemoryConfiguration configuration, RidgeState state, RidgeCheckpoint read)
    {
        (Configuration, _state, Samples) = (configuration, state, read.Samples);
        Name(read.Labels);
    }

    /// <summary>Where it lives.</summary>
    public Device Device => _state.Device;

    /// <summary>What it is.</summary>
    public RidgeMemoryConfiguration Configuration { get; }

    /// <summary>V: the numbers of an answer.</summary>
    public int Outputs => _state.Outputs;

    /// <summary>The label of each output.</summary>
    public IReadOnlyList<int> Labels => _labels;

    /// <summary>Samples learned.</summary>
    public long Samples { get; private set; }

    /// <summary>Bytes of its state: 4 D² and a little for the covariance, 8 D V for W.</summary>
    public long StateBytes => _state.Bytes;

    /// <summary>W [D, V] in float32, the memory's own.</summary>
    public Tensor Weights => _state.W;

    /// <summary>Learns samples in their order.</summary>
    /// <param name="x">[T, D]: keys.</param>
    /// <param name="y">[T, V]: targets.</param>
    /// <param name="predictions">[T, V], written: what each key was answered with before it was learned; or null.</param>
    /// <exception cref="ArgumentException">A shape or device does not fit. Nothing was learned.</exception>
    /// <exception cref="NotFiniteNumberException">As for <see cref="Ridge.Learn"/>.</exception>
    public void Learn(Tensor x, Tensor y, Tensor? predictions = null)
    {
        ArgumentNullException.ThrowIfNull(x);
        Ridge.Learn(_state, x, y, Configuration.Forget, predictions);
        Samples += x.Shape[0];
    }

    /// <summary>Learns one sample of D features and V targets.</summary>
    /// <exception cref="ArgumentException">There are not D features or not V targets. Nothing was learned.</exception>
    /// <exception cref="NotFiniteNumberException">As for <see cref="Ridge.Learn"/>.</exception>
    public void Learn(ReadOnlySpan<float> x, ReadOnlySpan<float> y)
    {
        RequireCount(x, Configuration.Features, nameof(x));
        RequireCount(y, Outputs, nameof(y));
        using Tensor keys = Device.From([1, x.Length], x), targets = Device.From([1, y.Length], y);
        Learn(keys, targets);
    }

    /// <summary>Learns samples with labels, in their order. Labels never seen before become outputs, in the order they come in.</summary>
    /// <param name="x">[T, D]: keys.</param>
    /// <param name="labels">T labels, any numbers.</param>
    /// <exception cref="ArgumentException">A shape, device or number of labels does not fit. Nothing was learned.</exception>
    /// <exception cref="NotFiniteNumberException">As for <see cref="Ridge.Learn"/>.</exception>
    public void Learn(Tensor x, ReadOnlySpan<int> labels)
    {
        ArgumentNullException.ThrowIfNull(x);
        Ridge.RequireKeys(_state, x);
        if (labels.Length != x.Shape[0])
            throw new ArgumentException($"There are {labels.Length} labels, expected {x.Shape[0]}.", nameof(labels));
        int[] unseen = [.. labels.ToArray().Where(l => !_columns.ContainsKey(l)).Distinct()];
        Shape shape = [labels.Length, Outputs + unseen.Length];
        // All that can fail for want of memory goes before there are more outputs.
        Ridge.RequireFinite(x, nameof(x));
        float[] targets = new float[shape.ElementCount];
        for (int t = 0; t < labels.Length; t++)
        {
            int column = _columns.TryGetValue(labels[t], out int seen) ? seen : Outputs + Array.IndexOf(unseen, labels[t]);
            targets[t * shape[1] + column] = 1;
        }

        using Tensor y = Device.From(shape, targets);
        if (unseen.Length > 0)
        {
            _state.AddOutputs(unseen.Length);
            Name(unseen);
        }

        Learn(x, y);
    }

    /// <summary>Learns one sample of D features with a label, which becomes an output if it was never seen.</summary>
    /// <exception cref="ArgumentException">There are not D features. Nothing was learned.</exception>
    /// <exception cref="NotFiniteNumberException">As for <see cref="Ridge.Learn"/>.</exception>
    public void Learn(ReadOnlySpan<float> x, int label)
    {
        RequireCount(x, Configuration.Features, nameof(x));
        using Tensor keys = Device.From([1, x.Length], x);
        Learn(keys, [label]);
    }

    /// <summary>Answers x W [T, V] of keys [T, D]; the caller disposes it.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    public Tensor Predict(Tensor x)
    {
        ArgumentNullException.ThrowIfNull(x);
        Ridge.RequireKeys(_state, x);
        Tensor y = Device.Empty([x.Shape[0], Outputs]);
        try
        {
            Ridge.Predict(_state, x, y);
            return y;
        }
        catch
        {
            y.Dispose();
            throw;
        }
    }

    /// <summary>The answer of V numbers to a key of D features.</summary>
    /// <exception cref="ArgumentException">There are not D features.</exception>
    public float[] Predict(ReadOnlySpan<float> x)
    {
        RequireCount(x, Configuration.Features, nameof(x));
        using Tensor keys = Device.From([1, x.Length], x), y = Predict(keys);
        return y.ToArray();
    }

    /// <summary>The label with the highest answer to each of the keys [T, D]; of equal ones the one seen first.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    /// <exception cref="InvalidOperationException">There are no outputs yet.</exception>
    public int[] Classify(Tensor x)
    {
        if (Outputs == 0)
            throw new InvalidOperationException("The memory has no outputs yet: no label was learned.");
        using Tensor y = Predict(x);
        float[] answers = y.ToArray();
        int[] labels = new int[y.Shape[0]];
        for (int t = 0; t < labels.Length; t++)
            labels[t] = _labels[Largest(answers.AsSpan(t * Outputs, Outputs))];
        return labels;
    }

    /// <summary>The label with the highest answer to a key of D features.</summary>
    /// <exception cref="ArgumentException">There are not D features.</exception>
    /// <exception cref="InvalidOperationException">There are no outputs yet.</exception>
    public int Classify(ReadOnlySpan<float> x)
    {
        RequireCount(x, Configuration.Features, nameof(x));
        using Tensor keys = Device.From([1, x.Length], x);
        return Classify(keys)[0];
    }

    /// <summary>
    /// Writes the state, each name starting with the prefix, and the configuration as JSON into the metadata. <c>factor</c> is float64.
    /// </summary>
    public void Save(SafetensorsFile file, string prefix)
    {
        ArgumentNullException.ThrowIfNull(file);
        double[] factor = _state.FactorNumbers();
        file.AddDoubles(prefix + FactorKey, [factor.Length], factor);
        file.Add(prefix + WeightKey, _state.W);
        file.Add(prefix + LowKey, _state.WLow);
        file.Add(prefix + LabelsKey, [.. _labels.Select(l => (long)l)]);
        file.Add(prefix + SamplesKey, [Samples]);
        CheckpointSettings.Save(file, prefix, ConfigurationJson.Of(Configuration));
    }

    /// <summary>Writes a file of the memory alone.</summary>
    /// <exception cref="IOException">The file cannot be written; what was there is as it was.</exception>
    public void Save(string path)
    {
        var file = new SafetensorsFile();
        Save(file, "");
        file.Save(path);
    }

    /// <summary>Takes over what <see cref="Save(SafetensorsFile, string)"/> wrote, with its labels.</summary>
    /// <param name="file">What was written.</param>
    /// <param name="prefix">What its names start with.</param>
    /// <param name="allow">Settings that may differ from the file's, such as <c>Forget</c>; they stay as they are here.</param>
    /// <exception cref="ArgumentException">There is no setting of a name to be allowed. Nothing changed.</exception>
    /// <exception cref="CheckpointException">Something is missing or does not fit, or a setting is another. Nothing changed.</exception>
    public void Load(SafetensorsFile file, string prefix, IReadOnlyCollection<string>? allow = null)
    {
        ArgumentNullException.ThrowIfNull(file);
        CheckpointSettings.Check(file, prefix, ConfigurationJson.Of(Configuration), allow);
        RidgeCheckpoint read = RidgeCheckpoint.Read(file, prefix, Configuration.Features);
        RidgeState state = read.Create(Device, Configuration);
        _state.Dispose();
        _state = state;
        _labels.Clear();
        _columns.Clear();
        Name(read.Labels);
        Samples = read.Samples;
    }

    /// <summary>A memory from its file alone.</summary>
    /// <exception cref="CheckpointException">The file is not one of a ridge memory.</exception>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static RidgeMemory Load(Device device, string path)
    {
        ArgumentNullException.ThrowIfNull(device);
        var file = SafetensorsFile.Load(path);
        RidgeMemoryConfiguration configuration = ConfigurationJson.ReadRidge(file, "");
        // Before memory is taken for it: a damaged file cannot ask for more than it has numbers.
        RidgeCheckpoint read = RidgeCheckpoint.Read(file, "", configuration.Features);
        return new RidgeMemory(configuration, read.Create(device, configuration), read);
    }

    /// <summary>Frees the state.</summary>
    public void Dispose() => _state.Dispose();

    private static int Largest(ReadOnlySpan<float> answers)
    {
        int largest = 0;
        for (int i = 1; i < answers.Length; i++)
        {
            if (answers[i] > answers[largest])
                largest = i;
        }

        return largest;
    }

    private static void RequireCount(ReadOnlySpan<float> elements, int count, string name)
    {
        if (elements.Length != count)
            throw new ArgumentException($"{name} has {elements.Length} elements, expected {count}.", name);
    }

    private void Name(int[] labels)
    {
        foreach (int label in labels)
        {
            _columns.Add(label, _labels.Count);
            _labels.Add(label);
        }
    }

    /// <summary>What a file has of a memory, checked.</summary>
    private sealed record RidgeCheckpoint(double[] Factor, float[] W, float[] Low, int[] Labels, long Samples)
    {
        public static RidgeCheckpoint Read(SafetensorsFile file, string prefix, int features)
        {
            string labelsKey = prefix + LabelsKey, factorKey = prefix + FactorKey;
            Shape count = file.ShapeOf(labelsKey), shape = [features, count.ElementCount];
            long[] labels = file.Integers(labelsKey, count.ElementCount).ToArray();
            if (labels.Any(l => l is < int.MinValue or > int.MaxValue) || labels.Distinct().Count() != labels.Length)
                throw new CheckpointException($"'{labelsKey}' has a label twice or beyond 32 bits.");
            double[] factor = file.Doubles(factorKey, [RidgeState.FactorLength(features) / 2]).ToArray();
            if (!factor.All(double.IsFinite) || !factor.Take(features).All(d => d > 0))
                throw new CheckpointException($"'{factorKey}' is not that of a covariance: it has a number that is not finite, or a " +
                    "diagonal that is not above 0.");
            float[] w = file.Floats(prefix + WeightKey, shape).ToArray(), low = file.Floats(prefix + LowKey, shape).ToArray();
            if (!w.All(float.IsFinite) || !low.All(float.IsFinite))
                throw new CheckpointException($"'{prefix}{WeightKey}' or '{prefix}{LowKey}' has a number that is not finite.");
            long samples = file.Integers(prefix + SamplesKey, 1)[0];
            return samples >= 0 ? new RidgeCheckpoint(factor, w, low, [.. labels.Select(l => (int)l)], samples)
                : throw new CheckpointException($"'{prefix}{SamplesKey}' is {samples}, expected at least 0.");
        }

        public RidgeState Create(Device device, RidgeMemoryConfiguration configuration)
        {
            var state = new RidgeState(device, configuration.Features, Labels.Length, configuration.Regularizer);
            try
            {
                state.SetFactor(Factor);
                state.W.CopyFrom(W);
                state.WLow.CopyFrom(Low);
                return state;
            }
            catch
            {
                state.Dispose();
                throw;
            }
        }
    }
}
