namespace NestedLearning;

/// <summary>How the error terms of a chunk are combined for its commit.</summary>
public enum ErrorReduction
{
    /// <summary>Σ over the chunk's steps (NL 71).</summary>
    Sum,

    /// <summary>Σ divided by the number of steps that contributed, so that the learning rate does not depend on the chunk.</summary>
    Mean,
}

/// <summary>
/// Parameters that are committed together, every <see cref="Chunk"/> steps of their context flow, by their own
/// optimizer and learning rate (docs/specification.md, section 4).
/// </summary>
public sealed class Level
{
    // The least normal number of float32: what is smaller counts as zero.
    private const float LeastNormal = 1.17549435e-38f;

    private readonly List<Parameter> _parameters;

    // Of the waiting steps, those whose error terms a parameter forgot when it returned to its start among them.
    private readonly long[] _forgotten;

    /// <summary>A level over these parameters.</summary>
    /// <param name="name">The name, as in timelines.</param>
    /// <param name="chunk">C: steps from one commit to the next, at least 1.</param>
    /// <param name="learningRate">η.</param>
    /// <param name="optimizer">The update rule; each parameter gets a memory of its own.</param>
    /// <param name="parameters">What the level learns; none may belong to another level.</param>
    public Level(string name, int chunk, float learningRate, Optimizer optimizer, IEnumerable<Parameter> parameters)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        Require.Positive(chunk);
        Require.Finite(learningRate);
        ArgumentNullException.ThrowIfNull(optimizer);
        ArgumentNullException.ThrowIfNull(parameters);
        Name = name;
        Chunk = chunk;
        LearningRate = learningRate;
        Optimizer = optimizer;
        _parameters = [.. parameters];
        Memories = [.. _parameters.Select(optimizer.CreateMemory)];
        _forgotten = new long[_parameters.Count];
    }

    /// <summary>The name, as in timelines.</summary>
    public string Name { get; }

    /// <summary>C: steps from one commit to the next.</summary>
    public int Chunk { get; }

    /// <summary>η.</summary>
    public float LearningRate { get; set; }

    /// <summary>The first commits use η · n / (WarmupCommits + 1) for commit n; 0 is none.</summary>
    public int WarmupCommits { get; init; }

    /// <summary>How a chunk's error terms are combined.</summary>
    public ErrorReduction Reduction { get; init; } = ErrorReduction.Sum;

    /// <summary>The largest global norm of a commit's error terms after reduction; larger ones are scaled down to it.</summary>
    /// <exception cref="ArgumentOutOfRangeException">Not above 0.</exception>
    public double ClipNorm
    {
        get;
        init => field = value > 0 ? value
            : throw new ArgumentOutOfRangeException(nameof(ClipNorm), value, $"ClipNorm is {value}, expected above 0.");
    } = double.PositiveInfinity;

    /// <summary>The update rule f of NL 71.</summary>
    public Optimizer Optimizer { get; }

    /// <summary>Where parameters of the level begin and return to, learned by slower levels; null: they never return.</summary>
    /// <exception cref="ArgumentException">It names a parameter that is not the level's.</exception>
    public LevelStart? Start
    {
        get;
        init
        {
            foreach ((Parameter parameter, _) in value?.Pairs ?? [])
            {
                if (!Parameters.Contains(parameter))
                    throw new ArgumentException($"Level '{Name}' has no parameter '{parameter.Name}' that could begin at a learned start.",
                        nameof(value));
            }

            field = value;
        }
    }

    /// <summary>What the level's memory is, for descriptions.</summary>
    public string Memory { get; init; } = "weights";

    /// <summary>What the level learns from, for descriptions; its chunk counts steps of this.</summary>
    public string ContextFlow { get; init; } = "tokens";

    /// <summary>What the level learns.</summary>
    public IReadOnlyList<Parameter> Parameters => _parameters;

    /// <summary>The optimizer's memory of each parameter, in the same order.</summary>
    public IReadOnlyList<OptimizerMemory> Memories { get; }

    /// <summary>The bytes of the parameters' values.</summary>
    public long ParameterBytes => OptimizerMemory.Bytes(Parameters.Select(p => p.Value));

    /// <summary>The bytes of the error terms that gather between commits, and of the optimizer's memories.</summary>
    public long StateBytes =>
        OptimizerMemory.Bytes([.. Parameters.Select(p => p.Error), .. Memories.SelectMany(m => m.State).Select(s => s.Value)])
        + Parameters.Sum(p => p.Factors?.Bytes ?? 0);

    /// <summary>The number of commits so far.</summary>
    public long Commits { get; internal set; }

    /// <summary>The number of steps whose error terms wait for the next commit.</summary>
    public long Pending { get; internal set; }

    /// <summary>
    /// For each parameter, how many of the <see cref="Pending"/> steps it waited for no longer, as it returned to its start after them.
    /// </summary>
    internal Span<long> Forgotten => _forgotten;

    // ‖Σ of the waiting error terms‖ over all parameters, before reduction. Products of factors need memory, so they are made
    // one at a time.
    internal double ErrorNorm()
    {
        ILookup<bool, Parameter> byFactors = Parameters.ToLookup(p => p.Factors is { Tokens: > 0 });
        return Math.Sqrt(GlobalNorm.Squared([.. byFactors[false].Select(p => p.Error)]) + byFactors[true].Sum(p => p.SquaredErrorNorm()));
    }

    // What its next commit does to each parameter, where its ErrorNorm is this. Changes nothing.
    internal ParameterCommit[] NextCommit(double errorNorm)
    {
        float[] scales = ErrorScales(errorNorm, Pending);
        float rate = LearningRate * Math.Min(1f, (Commits + 1f) / (WarmupCommits + 1f));
        return [.. Parameters.Select((parameter, i) => new ParameterCommit(Memories[i], parameter, rate, scales[i]))];
    }

    internal void Committed()
    {
        Commits++;
        ForgetSteps();
    }

    // The gradient at the moved parameters is, to first order, the start's (docs/specification.md, section 5).
    internal void PassErrorsToStart()
    {
        foreach ((Parameter parameter, Parameter start) in Start?.Pairs ?? [])
        {
            start.AddError(parameter.Error);
            parameter.Factors?.AddProductTo(start.Error);
        }
    }

    internal void ReturnToStart()
    {
        foreach ((Parameter parameter, Parameter start) in Start?.Pairs ?? [])
        {
            parameter.Value.CopyFrom(start.Value);
            parameter.ClearError();
            int index = _parameters.IndexOf(parameter);
            _forgotten[index] = Pending;
            if (Start!.ResetsOptimizer)
                Memories[index].Reset();
        }

        if (Array.TrueForAll(_forgotten, f => f == Pending))
            ForgetSteps();
    }

    internal void Drop()
    {
        foreach (Parameter parameter in Parameters)
            parameter.ClearError();
        ForgetSteps();
    }

    /// <summary>
    /// What each parameter's waiting error terms are multiplied by in a commit of so many waiting steps. Changes nothing.
    /// </summary>
    /// <exception cref="NotFiniteNumberException">
    /// They are not finite, or so large that the optimizer's memories of them would not be.
    /// </exception>
    internal float[] ErrorScales(double errorNorm, long pending)
    {
        double[] means =
            [.. _forgotten.Select(f => Reduction == ErrorReduction.Mean ? 1.0 / Math.Max(1, pending - f) : 1)];
        double norm = Array.TrueForAll(means, m => m == means[0])
            ? errorNorm * means.FirstOrDefault(1)
            : Math.Sqrt(means.Select((mean, i) => mean * mean * Parameters[i].SquaredErrorNorm()).Sum());
        if (!double.IsFinite(norm))
            throw new NotFiniteNumberException($"The error terms of level '{Name}' have norm {norm}; nothing was committed.", norm);
        double clip = Math.Min(1, ClipNorm / norm);
        float[] scales = Array.ConvertAll(means, m => (float)(m * clip));
        double largest = Memories.Select(m => m.LargestErrorNorm).DefaultIfEmpty(double.PositiveInfinity).Min();
        if (norm * clip > largest)
            throw new NotFiniteNumberException(
                $"The error terms of level '{Name}' have norm {CommitBound.Text(norm)}, expected at most {CommitBound.Text(largest)}, " +
                "beyond which the optimizer's memories of them are not finite; nothing was committed.", norm);
        if (Array.Exists(scales, s => s < LeastNormal))
            throw new NotFiniteNumberException(
                $"The error terms of level '{Name}' have norm {CommitBound.Text(norm)}, too large to be scaled down to " +
                Readable.Text($"{ClipNorm}; nothing was committed."), norm);
        return scales;
    }

    private void ForgetSteps()
    {
        Pending = 0;
        Array.Clear(_forgotten);
    }
}
