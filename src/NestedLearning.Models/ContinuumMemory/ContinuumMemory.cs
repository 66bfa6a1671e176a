namespace NestedLearning.Models;

/// <summary>
/// A continuum memory system to put on features of any kind (docs/specification.md, section 4): residual MLPs, one a level,
/// committed at their levels' frequencies (NL 70–74). It learns while it is used, in one of two ways:
/// <list type="bullet">
/// <item>from a task loss: <see cref="Forward"/> on a tape, the backward pass from any loss, then
/// <c>Levels.Advance(T)</c>;</item>
/// <item>from a local regression objective, without backpropagation between levels: <see cref="Regress"/>.</item>
/// </list>
/// All sequences of a batch share the weights here; <see cref="ContinuumMemoryCopies"/> gives each its own.
/// </summary>
public sealed class ContinuumMemory : IDisposable
{
    private const string LevelsKey = "levels.";

    private readonly ContinuumMemoryBlock _block;

    /// <summary>A memory with random initial values.</summary>
    /// <exception cref="ArgumentException">A setting is out of its range.</exception>
    public ContinuumMemory(Device device, ContinuumMemoryConfiguration configuration)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(configuration);
        configuration.Validate();
        Device = device;
        Configuration = configuration;
        var make = new ParameterFactory(device, configuration.Seed);
        int[] hidden = [.. configuration.Levels.Select(l => l.Hidden)];
        _block = new ContinuumMemoryBlock(make, "memory", configuration.Dim, hidden, configuration.Settings, configuration.OutputDeviation);
        Levels = new LevelSystem(configuration.Levels.Select(NewLevel));
    }

    /// <summary>
    /// A memory that begins as a pretrained MLP: its y is x + f(x) of the transformer's sublayer, to rounding.
    /// <list type="bullet">
    /// <item>In a chain the slowest level gets the whole MLP, and the others begin as the identity: their outputs are zero,
    /// their norms the pretrained one, their other weights random.</item>
    /// <item>With <see cref="ContinuumVariant.Independent"/> the hidden units are shared out among the levels in order, the
    /// fastest first; with equal weights 1/k of the sum, output weights are multiplied by k.</item>
    /// </list>
    /// Learned starts begin at the same values.
    /// </summary>
    /// <param name="device">Where it lives.</param>
    /// <param name="mlp">What it begins as.</param>
    /// <param name="configuration">
    /// Its width and form are replaced by the MLP's. In a chain the slowest level's hidden width is the MLP's; of
    /// independent levels all together are.
    /// </param>
    /// <exception cref="ArgumentException">A setting is out of its range, or hidden widths do not fit.</exception>
    public static ContinuumMemory FromPretrained(Device device, PretrainedMlp mlp, ContinuumMemoryConfiguration configuration)
    {
        ArgumentNullException.ThrowIfNull(mlp);
        ArgumentNullException.ThrowIfNull(configuration);
        configuration = configuration with { Dim = mlp.Dim, Settings = configuration.Settings with { Form = mlp.Form } };
        configuration.Validate();
        bool shared = configuration.Settings.Variant == ContinuumVariant.Independent;
        int hidden = shared ? configuration.Levels.Sum(l => l.Hidden) : configuration.Levels[^1].Hidden;
        if (hidden != mlp.Hidden)
            throw new ArgumentException($"{(shared ? "The levels have together" : $"Level '{configuration.Levels[^1].Name}' has")} " +
                $"{hidden} hidden units, expected the MLP's {mlp.Hidden}.", nameof(configuration));
        var memory = new ContinuumMemory(device, configuration);
        memory._block.WarmStart(mlp);
        return memory;
    }

    /// <summary>Where it lives.</summary>
    public Device Device { get; }

    /// <summary>Its shape.</summary>
    public ContinuumMemoryConfiguration Configuration { get; }

    /// <summary>The levels and their clock, which counts tokens.</summary>
    public LevelSystem Levels { get; }

    /// <summary>The number of parameters, learned starts among them.</summary>
    public long ParameterCount => Levels.Parameters.Sum(p => (long)p.Value.Count);

    /// <summary>
    /// y [B, T, D] for x [B, T, D]. The gradient flows to x and to every level's error terms; after the backward pass,
    /// <c>Levels.Advance(T)</c> commits what is due, so that T is at most <c>Levels.StepsToNextCommit</c>.
    /// </summary>
    /// <exception cref="ArgumentException">x is not [B, T, D].</exception>
    public Variable Forward(Tape tape, Variable x)
    {
        ArgumentNullException.ThrowIfNull(tape);
        ArgumentNullException.ThrowIfNull(x);
        RequireFeatures(x.Value, nameof(x));
        return _block.Forward(tape, x);
    }

    /// <summary>
    /// Computes y [B, T, D] for x [B, T, D], then learns: level ℓ descends ½‖MLP_ℓ(x_ℓ) − target‖², summed over the tokens and
    /// sequences, from its own input x_ℓ alone: in a chain the output of the block before, which no gradient passes. So every
    /// block fits what the ones before have left over of the target. With <see cref="ContinuumVariant.Independent"/> x_ℓ is
    /// x, and the weights of the sum descend ½‖y − target‖². Generators descend the objective of the block they write. To
    /// predict the next input, give it as the target.
    /// </summary>
    /// <param name="x">[B, T, D], with T at most <c>Levels.StepsToNextCommit</c>.</param>
    /// <param name="target">[B, T, D].</param>
    /// <returns>y from before anything was learned from these tokens; the caller disposes it.</returns>
    /// <exception cref="ArgumentException">A shape or device does not fit. Nothing changed.</exception>
    /// <exception cref="ArgumentOutOfRangeException">T goes past the next commit. Nothing changed.</exception>
    /// <exception cref="NotFiniteNumberException">An output, target or gradient is not finite. Nothing changed.</exception>
    public Tensor Regress(Tensor x, Tensor target)
    {
        RequireFeatures(x, nameof(x));
        RequireTarget(x, target);
        Tensor? y = null;
        try
        {
            LevelSystem.Learn([Levels], x.Shape[1], () => y = AddRegression(x, target));
            return y!;
        }
        catch
        {
            y?.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Writes weights, starts, waiting error terms, optimizer memories and clocks, each name starting with the prefix, and the
    /// configuration as JSON into the metadata.
    /// </summary>
    public void Save(SafetensorsFile file, string prefix)
    {
        ArgumentNullException.ThrowIfNull(file);
        Levels.Save(file, prefix);
        // It says all that the levels' settings say, except for rates that were changed.
        CheckpointSettings.Save(file, prefix + LevelsKey, LevelSettings.Of(Levels.Levels));
        CheckpointSettings.Save(file, prefix, ConfigurationJson.Of(Configuration));
    }

    /// <summary>Takes over what <see cref="Save"/> wrote.</summary>
    /// <param name="file">What was written.</param>
    /// <param name="prefix">What its names start with.</param>
    /// <param name="allow">
    /// Settings that may differ from the file's, such as <c>LearningRate</c> or <c>Levels[1].Chunk</c>; they stay as they are here.
    /// Those that decide initial values alone always may.
    /// </param>
    /// <exception cref="ArgumentException">There is no setting of a name to be allowed. Nothing changed.</exception>
    /// <exception cref="CheckpointException">Something is missing or does not fit, or a setting is another: the message names it, with
    /// both values. Nothing changed.</exception>
    public void Load(SafetensorsFile file, string prefix, IReadOnlyCollection<string>? allow = null) =>
        PrepareLoad(file, prefix, allow)();

    internal Action PrepareLoad(SafetensorsFile file, string prefix, IReadOnlyCollection<string>? allow)
    {
        ArgumentNullException.ThrowIfNull(file);
        CheckpointSettings.Check(file, prefix, ConfigurationJson.Of(Configuration), allow, ConfigurationJson.InitialOfMemory);
        CheckpointSettings.Check(file, prefix + LevelsKey, LevelSettings.Of(Levels.Levels), allow, known: false);
        return Levels.PrepareTensors(file, prefix);
    }

    /// <summary>An independent copy of everything.</summary>
    public ContinuumMemory Clone()
    {
        var copy = new ContinuumMemory(Device, Configuration);
        copy.CopyFrom(this);
        return copy;
    }

    /// <summary>
    /// Takes over everything from another memory of the same shape: weights, starts, error terms, optimizer memories, clocks.
    /// </summary>
    /// <exception cref="CheckpointException">The other has another shape. Nothing changed.</exception>
    public void CopyFrom(ContinuumMemory other)
    {
        ArgumentNullException.ThrowIfNull(other);
        var file = new SafetensorsFile();
        other.Save(file, "");
        Levels.PrepareTensors(file, "")();
    }

    /// <summary>Frees parameters and memories.</summary>
    public void Dispose() => Levels.Dispose();

    internal static void RequireTarget(Tensor x, Tensor target)
    {
        ArgumentNullException.ThrowIfNull(target);
        if (target.Shape != x.Shape)
            throw new ArgumentException($"target has shape {target.Shape}, expected {x.Shape}.", nameof(target));
        if (target.Device != x.Device)
            throw new ArgumentException($"target is on '{target.Device.Name}', expected '{x.Device.Name}'.", nameof(target));
    }

    /// <summary>The gradients of the local objectives for one call, added to the error terms; y is the caller's.</summary>
    internal Tensor AddRegression(Tensor x, Tensor target) => _block.Regress(x, target);

    internal void RequireFeatures(Tensor x, string name)
    {
        ArgumentNullException.ThrowIfNull(x, name);
        if (x.Shape.Rank != 3 || x.Shape[0] == 0 || x.Shape[1] == 0 || x.Shape[2] != Configuration.Dim)
            throw new ArgumentException($"{name} has shape {x.Shape}, expected [B, T, {Configuration.Dim}] with B and T at least 1.", name);
        if (x.Device != Device)
            throw new ArgumentException($"{name} is on '{x.Device.Name}', expected '{Device.Name}'.", name);
    }

    private Level NewLevel(LevelConfiguration level, int index) =>
        new(level.Name, level.Chunk, level.LearningRate, level.Optimizer ?? new Adam(), _block.Parameters(index))
        {
            Memory = "residual MLP",
            Reduction = level.Reduction ?? Configuration.Reduction,
            ClipNorm = level.ClipNorm ?? Configuration.ClipNorm,
            WarmupCommits = level.WarmupCommits ?? Configuration.WarmupCommits,
            Start = ContinuumMemoryBlock.StartOf([_block], Configuration.Settings, index, [.. Configuration.Levels.Select(l => l.Chunk)]),
        };
}
