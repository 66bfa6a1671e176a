namespace NestedLearning.Optimizers;

/// <summary>
/// Multi-scale momentum Muon (NL 75, Algorithm 1): a fast momentum written at every commit and a slow one written every f
/// commits, each read through Newton–Schulz, with a second moment below.
/// <code>
/// at the first commit of every period but the first: m₂ ← m₂ + β3 Σ g over the period before;  O₂ = NS(m₂)
/// m₁ ← m₁ + β1 g;   v ← v + β2 g²;   W ← W − η ((NS(m₁) + a O₂)/(√v + ε) + λ W)
/// </code>
/// The memories are sums, as the algorithm has them. The slow momentum is a level of its own, with the gradients of the period
/// as its error terms: what it commits is used throughout the period that follows.
/// </summary>
public sealed class M3 : Optimizer
{
    /// <summary>β1, what of g is written into the fast momentum, above 0.</summary>
    public float Beta1 { get; init; } = 0.9f;

    /// <summary>β2, what of g² is written into the second moment, above 0.</summary>
    public float Beta2 { get; init; } = 0.999f;

    /// <summary>β3, what of a period's gradients is written into the slow momentum, above 0.</summary>
    public float Beta3 { get; init; } = 0.9f;

    /// <summary>a, the slow momentum's part in the update.</summary>
    public float SlowWeight { get; init; } = 0.5f;

    /// <summary>f, commits from one write of the slow momentum to the next.</summary>
    public int Period { get; init; } = 10;

    /// <summary>Added to √v, above 0 and not subnormal.</summary>
    public float Epsilon { get; init; } = 1e-8f;

    /// <summary>Steps of Newton–Schulz.</summary>
    public int Steps { get; init; } = 5;

    /// <summary>λ, for parameters that decay.</summary>
    public float WeightDecay { get; init; }

    /// <inheritdoc/>
    public override string Rule => Readable.Text(
        $"M3: m₁ ← m₁ + β1 g, m₂ ← m₂ + β3 Σ g every {Period} commits, v ← v + β2 g², W ← W − η ((NS(m₁) + a NS(m₂))/(√v + ε) + λ W); " +
        $"β1 = {Beta1}, β2 = {Beta2}, β3 = {Beta3}, a = {SlowWeight}, ε = {Epsilon}, {Steps} steps, λ = {WeightDecay}");

    /// <inheritdoc/>
    public override void Validate()
    {
        Require.Above(Beta1, 0);
        Require.Above(Beta2, 0);
        Require.Above(Beta3, 0);
        Require.Finite(SlowWeight);
        Require.Positive(Period);
        Require.Epsilon(Epsilon);
        Require.Positive(Steps);
        Require.Finite(WeightDecay);
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">The parameter is not a matrix, or a setting is out of its range.</exception>
    public override OptimizerMemory CreateMemory(Parameter parameter)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        Validate();
        Require.Matrix(parameter, "M3");
        return new Memory(this, parameter.Value);
    }

    private sealed class Memory : OptimizerMemory
    {
        private readonly M3 _m3;
        private readonly Tensor _fast;
        private readonly Tensor _second;
        private readonly Tensor _gathered;
        private readonly Tensor _slow;
        private readonly Tensor _slowDirection;

        public Memory(M3 m3, Tensor weight)
            : base(m3)
        {
            _m3 = m3;
            _fast = New();
            _second = New();
            _gathered = New();
            _slow = New();
            _slowDirection = New();
            State = [("m1", _fast), ("v", _second), ("gathered", _gathered), ("m2", _slow), ("o2", _slowDirection)];

            Tensor New() => weight.Device.Zeros(weight.Shape);
        }

        public override IReadOnlyList<(string Name, Tensor Value)> State { get; }

        public override IReadOnlyList<OptimizerMemoryLevel> Levels =>
        [
            new("m1, v, gathered", Period: 1, Bytes(_fast, _second, _gathered)),
            new("m2, o2", _m3.Period, Bytes(_slow, _slowDirection)),
        ];

        protected override void Update(Parameter parameter, float learningRate, float errorScale, long commit)
        {
            Tensor weight = parameter.Value, g = parameter.Error;
            if (commit > 1 && (commit - 1) % _m3.Period == 0)
            {
                Elementwise.AddScaled(_m3.Beta3, _gathered, _slow);
                NewtonSchulz.Orthogonalize(_slow, _slowDirection, _m3.Steps);
                _gathered.Fill(0);
            }

            Elementwise.AddScaled(errorScale, g, _gathered);
            MomentCommit.Apply(new MomentTensors(null, g, _fast, _second), new MomentSettings
            {
                GradientIsBounded = true,
                GradientScale = errorScale,
                Keep1 = 1,
                Write1 = _m3.Beta1,
                Keep2 = 1,
                Write2 = _m3.Beta2,
            });
            using Tensor direction = weight.Device.Empty(weight.Shape);
            NewtonSchulz.Orthogonalize(_fast, direction, _m3.Steps);
            Elementwise.AddScaled(_m3.SlowWeight, _slowDirection, direction);
            MomentCommit.Apply(new MomentTensors(weight, direction, V: _second), new MomentSettings
            {
                GradientIsBounded = true,
                LearningRate = learningRate,
                Keep2 = 1,
                Epsilon = _m3.Epsilon,
                Decay = parameter.Decays ? learningRate * _m3.WeightDecay : 0,
            });
        }
    }
}
