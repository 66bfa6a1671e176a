namespace NestedLearning.Models.Continual;

/// <summary>
/// A quadratic penalty that holds weights where they were, each by its importance: Σ ½ λ Ω_i (θ_i − θ*_i)². Anchors θ* and
/// importances are renewed every <c>period</c> bytes, since a stream does not say where its tasks end.
/// </summary>
public abstract class WeightPenalty : LearningStrategy
{
    private readonly int _period;
    private Tensors? _tensors;
    private Tensor[]? _gradients;
    private long _sinceAnchor;

    private protected WeightPenalty(double strength, int period)
    {
        if (!(strength >= 0 && double.IsFinite(strength)))
            throw new ArgumentOutOfRangeException(nameof(strength), strength, $"strength is {strength}, expected a finite number of at " +
                "least 0.");
        if (period < 1)
            throw new ArgumentOutOfRangeException(nameof(period), period, $"period is {period}, expected at least 1.");
        (Strength, _period) = (strength, period);
    }

    private protected double Strength { get; }

    private protected int Period => _period;

    private protected override void Forget()
    {
        _tensors?.Dispose();
        Free(_gradients);
    }

    internal override void Begin(SequenceModel model) => _tensors = new Tensors(model);

    private protected override void Add(SequenceModel model, ReadOnlySpan<byte> text, int last)
    {
        Tensors tensors = _tensors!;
        Parameter[] parameters = Parameters(model);
        long step = model.Levels.Step + text.Length;
        HashSet<Parameter> due = [.. model.Levels.Levels.Where(l => step % l.Chunk == 0).SelectMany(l => l.Parameters)];
        Free(_gradients);
        _gradients = new Tensor[parameters.Length];
        for (int i = 0; i < parameters.Length; i++)
        {
            Parameter p = parameters[i];
            if (due.Contains(p))
                _gradients[i] = p.Error.Clone();
            if (!tensors.Anchored || Strength == 0)
                continue;
            using Tensor pull = p.Value.Clone();
            Elementwise.AddScaled(-1, tensors.Anchor[i], pull);
            Elementwise.Multiply(pull, tensors.Importance[i], pull);
            Elementwise.AddScaled((float)(Strength * text.Length), pull, p.Error);
        }
    }

    private protected override void Committed(SequenceModel model, ReadOnlySpan<byte> text, int last)
    {
        Tensors tensors = _tensors!;
        Parameter[] parameters = Parameters(model);
        for (int i = 0; i < parameters.Length; i++)
        {
            if (_gradients![i] is { } sum)
                Gather(tensors, i, parameters[i], sum, LevelOf(model, parameters[i]).Chunk);
        }

        Free(_gradients);
        _gradients = null;
        if ((_sinceAnchor += text.Length) < _period)
            return;
        _sinceAnchor = 0;
        for (int i = 0; i < parameters.Length; i++)
            Renew(tensors, i, parameters[i]);
        tensors.Anchored = true;
    }

    /// <summary>A level committed.</summary>
    /// <param name="tensors">What is remembered.</param>
    /// <param name="i">The parameter's index.</param>
    /// <param name="parameter">The parameter after the commit.</param>
    /// <param name="sum">The sum of the stream's gradients over the chunk.</param>
    /// <param name="chunk">The bytes of the chunk.</param>
    private protected abstract void Gather(Tensors tensors, int i, Parameter parameter, Tensor sum, int chunk);

    /// <summary>The importances and the anchor of a parameter from what was gathered.</summary>
    private protected abstract void Renew(Tensors tensors, int i, Parameter parameter);

    internal override void Save(SafetensorsFile file, string prefix, SequenceModel model)
    {
        file.Add(prefix + "clock", [_sinceAnchor, _tensors!.Anchored ? 1 : 0]);
        foreach ((string name, Tensor tensor) in _tensors.All(Parameters(model)))
            file.Add(prefix + name, tensor);
    }

    internal override (Action Take, Action Drop) PrepareLoad(SafetensorsFile file, string prefix, SequenceModel model)
    {
        long[] clock = file.Integers(prefix + "clock", 2).ToArray();
        if (clock[0] < 0 || clock[1] is < 0 or > 1)
            throw new CheckpointException($"'{prefix}clock' is [{string.Join(", ", clock)}], expected bytes since an anchor, and 0 or 1.");
        var tensors = new Tensors(model) { Anchored = clock[1] == 1 };
        try
        {
            foreach ((string name, Tensor tensor) in tensors.All(Parameters(model)))
                tensor.CopyFrom(file.Floats(prefix + name, tensor.Shape));
        }
        catch
        {
            tensors.Dispose();
            throw;
        }

        return (Take, tensors.Dispose);

        void Take()
        {
            _tensors?.Dispose();
            _tensors = tensors;
            _sinceAnchor = clock[0];
        }
    }

    private static Level LevelOf(SequenceModel model, Parameter parameter) =>
        model.Levels.Levels.First(l => l.Parameters.Contains(parameter));

    private static void Free(Tensor?[]? tensors)
    {
        foreach (Tensor? tensor in tensors ?? [])
            tensor?.Dispose();
    }

    /// <summary>For each parameter what is gathered since the last anchor, the anchor, the importance, and the value before.</summary>
    internal sealed class Tensors : IDisposable
    {
        public Tensors(SequenceModel model)
        {
            Parameter[] parameters = Parameters(model);
            (Gathered, Importance, Anchor, Before) = (Room(), Room(), Room(), Room());
            try
            {
                for (int i = 0; i < parameters.Length; i++)
                {
                    Tensor value = parameters[i].Value;
                    Gathered[i] = value.Device.Zeros(value.Shape);
                    Importance[i] = value.Device.Zeros(value.Shape);
                    Anchor[i] = value.Clone();
                    Before[i] = value.Clone();
                }
            }
            catch
            {
                Dispose();
                throw;
            }

            Tensor[] Room() => new Tensor[parameters.Length];
        }

        public Tensor[] Gathered { get; }

        public Tensor[] Importance { get; }

        public Tensor[] Anchor { get; }

        public Tensor[] Before { get; }

        public bool Anchored { get; set; }

        public IEnumerable<(string Name, Tensor Tensor)> All(Parameter[] parameters) => parameters.SelectMany((p, i) =>
            ((string, Tensor)[])[($"gathered.{p.Name}", Gathered[i]), ($"importance.{p.Name}", Importance[i]),
                ($"anchor.{p.Name}", Anchor[i]), ($"before.{p.Name}", Before[i])]);

        public void Dispose()
        {
            foreach (Tensor[] tensors in (Tensor[][])[Gathered, Importance, Anchor, Before])
                Free(tensors);
        }
    }
}

/// <summary>
/// Online elastic weight consolidation (Kirkpatrick et al., PNAS 2017; online: Schwarz et al. 2018, arXiv 1805.06370): importances are
/// the diagonal of the Fisher information, F ← γ F + F_new, with F_new the mean square of the gradient of a chunk's mean loss since the
/// last anchor, times the bytes of a chunk.
/// </summary>
/// <param name="strength">λ, at least 0.</param>
/// <param name="period">Bytes from one anchor to the next, at least 1.</param>
/// <param name="decay">γ, 0 to 1.</param>
public sealed class ElasticWeightConsolidation(double strength, int period, double decay = 0.9) : WeightPenalty(strength, period)
{
    private readonly float _decay = decay is >= 0 and <= 1 ? (float)decay
        : throw new ArgumentOutOfRangeException(nameof(decay), decay, $"decay is {decay}, expected 0 to 1.");

    /// <inheritdoc/>
    public override LearningStrategy Anew() => new ElasticWeightConsolidation(Strength, Period, _decay);

    // Σ (g/C)² C · C/period: with the mean over the period/C chunks, times C.
    private protected override void Gather(Tensors tensors, int i, Parameter parameter, Tensor sum, int chunk)
    {
        Elementwise.Multiply(sum, sum, sum);
        Elementwise.AddScaled(1f / Period, sum, tensors.Gathered[i]);
    }

    private protected override void Renew(Tensors tensors, int i, Parameter parameter)
    {
        Elementwise.AddScaled(_decay - 1, tensors.Importance[i], tensors.Importance[i]);
        Elementwise.AddScaled(1, tensors.Gathered[i], tensors.Importance[i]);
        tensors.Gathered[i].Fill(0);
        tensors.Anchor[i].CopyFrom(parameter.Value);
    }
}

/// <summary>
/// Synaptic intelligence (Zenke et al. 2017, arXiv 1703.04200): a weight is important by what its moves lowered the loss,
/// ω ← ω − g Δθ, Ω ← Ω + max(0, ω) / ((θ − θ*)² + ξ) at each anchor.
/// </summary>
/// <param name="strength">c, at least 0.</param>
/// <param name="period">Bytes from one anchor to the next, at least 1.</param>
/// <param name="damping">ξ, above 0.</param>
public sealed class SynapticIntelligence(double strength, int period, double damping = 1e-3) : WeightPenalty(strength, period)
{
    private readonly double _damping = damping > 0 && double.IsFinite(damping) ? damping
        : throw new ArgumentOutOfRangeException(nameof(damping), damping, $"damping is {damping}, expected a finite number above 0.");

    /// <inheritdoc/>
    public override LearningStrategy Anew() => new SynapticIntelligence(Strength, Period, _damping);

    private protected override void Gather(Tensors tensors, int i, Parameter parameter, Tensor sum, int chunk)
    {
        // θ − θ_before in the memory of θ_before.
        Tensor move = tensors.Before[i];
        Elementwise.AddScaled(-2, move, move);
        Elementwise.AddScaled(1, parameter.Value, move);
        Elementwise.Multiply(sum, move, move);
        // The loss of the mean over the chunk.
        Elementwise.AddScaled(-1f / chunk, move, tensors.Gathered[i]);
        move.CopyFrom(parameter.Value);
    }

    private protected override void Renew(Tensors tensors, int i, Parameter parameter)
    {
        float[] gathered = tensors.Gathered[i].ToArray(), importance = tensors.Importance[i].ToArray(),
            anchor = tensors.Anchor[i].ToArray(), value = parameter.Value.ToArray();
        for (int e = 0; e < value.Length; e++)
        {
            double moved = (double)value[e] - anchor[e];
            importance[e] += (float)(Math.Max(0, gathered[e]) / (moved * moved + _damping));
        }

        tensors.Importance[i].CopyFrom(importance);
        tensors.Gathered[i].Fill(0);
        tensors.Anchor[i].CopyFrom(parameter.Value);
    }
}
