namespace NestedLearning.Optimizers;

/// <summary>
/// Adam (Kingma and Ba) and AdamW (Loshchilov and Hutter): first and second moments of the gradient as memories, bias
/// corrected (NL 100–105).
/// <code>
/// m ← β1 m + (1 − β1) g;  v ← β2 v + (1 − β2) g²;  W ← W − η m̂ / (√v̂ + ε)
/// AdamW: W ← W − η λ W;   Adam: g ← g + λ W
/// </code>
/// </summary>
public sealed class Adam : Optimizer
{
    /// <summary>Decay of the first moment, in [0, 1).</summary>
    public double Beta1 { get; init; } = 0.9;

    /// <summary>Decay of the second moment, in [0, 1).</summary>
    public double Beta2 { get; init; } = 0.999;

    /// <summary>Added to √v̂.</summary>
    public float Epsilon { get; init; } = 1e-8f;

    /// <summary>λ, for parameters that decay.</summary>
    public float WeightDecay { get; init; }

    /// <summary>True is AdamW: the decay acts on the weights, not through the gradient.</summary>
    public bool Decoupled { get; init; } = true;

    /// <summary>
    /// How the moments are stored: bfloat16 halves their memory, and a commit moves 20 bytes a parameter in place of 28.
    /// </summary>
    public MomentPrecision Moments { get; init; }

    /// <summary>Chooses the random numbers that bfloat16 moments are rounded with; each parameter has its own by its name.</summary>
    public ulong Seed { get; init; }

    /// <inheritdoc/>
    public override string Rule => Readable.Text(
        $"{(Decoupled ? "AdamW" : "Adam")}: {(Decoupled ? "" : "g ← g + λ W, ")}m ← β1 m + (1 − β1) g, v ← β2 v + (1 − β2) g², W ← W − " +
        $"η {(Decoupled ? "(m̂/(√v̂ + ε) + λ W)" : "m̂/(√v̂ + ε)")}; β1 = {Beta1}, β2 = {Beta2}, ε = {Epsilon}, λ = {WeightDecay}");

    /// <inheritdoc/>
    public override void Validate() =>
        AdamCommit.Validate(new AdamSettings(LearningRate: 1, Beta1, Beta2, Epsilon, WeightDecay, Decoupled, Step: 1, GradientScale: 1));

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">A setting is out of its range.</exception>
    public override OptimizerMemory CreateMemory(Parameter parameter)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        Validate();
        return new Memory(this, parameter);
    }

    private sealed class Memory : OptimizerMemory
    {
        private readonly Adam _adam;
        private readonly ulong _seed;
        private readonly Tensor _m;
        private readonly Tensor _v;

        public Memory(Adam adam, Parameter parameter)
            : base(adam)
        {
            Tensor value = parameter.Value;
            bool half = adam.Moments == MomentPrecision.BFloat16;
            Shape shape = half ? [BFloat16.PackedCount(value.Count)] : value.Shape;
            _adam = adam;
            _seed = SeedFor(parameter, adam.Seed);
            _m = value.Device.Zeros(shape);
            _v = value.Device.Zeros(shape);
            State = half ? [("m.bf16", _m), ("v.bf16", _v)] : [("m", _m), ("v", _v)];
        }

        public override IReadOnlyList<(string Name, Tensor Value)> State { get; }

        private protected override bool CommitsAtOnce => true;

        protected override void Update(Parameter parameter, float learningRate, float errorScale, long commit) =>
            AdamCommit.Apply(parameter.Value, parameter.Error, _m, _v, Settings(parameter, learningRate, errorScale, commit));

        protected override void UpdateAll(ReadOnlySpan<ParameterCommit> commits, Span<CommitChange> changes)
        {
            var tensors = new AdamTensors[commits.Length];
            var settings = new AdamSettings[commits.Length];
            for (int i = 0; i < commits.Length; i++)
            {
                ParameterCommit commit = commits[i];
                var memory = (Memory)commit.Memory;
                tensors[i] = new AdamTensors(commit.Parameter.Value, commit.Parameter.Error, memory._m, memory._v);
                settings[i] = memory.Settings(commit.Parameter, commit.LearningRate, commit.ErrorScale, memory.Commits + 1) with
                {
                    ClearGradient = true,
                };
            }

            AdamCommit.Apply(tensors, settings, changes);
        }

        private AdamSettings Settings(Parameter parameter, float learningRate, float errorScale, long commit) =>
            new(learningRate, _adam.Beta1, _adam.Beta2, _adam.Epsilon, parameter.Decays ? _adam.WeightDecay : 0, _adam.Decoupled, commit,
                errorScale)
            {
                Moments = _adam.Moments,
                Seed = _seed,
                GradientIsBounded = true,
            };
    }
}
