namespace NestedLearning.Optimizers;

/// <summary>
/// Muon (Jordan et al.), momentum read through Newton–Schulz's orthogonalisation (NL 52):
/// <code>
/// m ← μ m + g;   W ← W − η (s NS(m) + λ W)
/// </code>
/// In Nesterov's form NS reads μ m + g. It is for the matrices of hidden layers; give embeddings, output layers, gains and
/// biases another optimizer by <see cref="OptimizerRules"/>.
/// </summary>
public sealed class Muon : Optimizer
{
    /// <summary>μ, in [0, 1).</summary>
    public double Decay { get; init; } = 0.95;

    /// <summary>Whether Nesterov's form of the momentum is read.</summary>
    public bool Nesterov { get; init; }

    /// <summary>Steps of Newton–Schulz.</summary>
    public int Steps { get; init; } = 5;

    /// <summary>
    /// The root mean square that each update's elements get: s = rms · √max(r, c). With about 0.2 a learning rate made for AdamW
    /// serves both. 0 leaves the update as it is, s = 1.
    /// </summary>
    public float UpdateRms { get; init; }

    /// <summary>λ, for parameters that decay.</summary>
    public float WeightDecay { get; init; }

    /// <inheritdoc/>
    public override string Rule
    {
        get
        {
            string read = Nesterov ? "μ m + g" : "m", scale = UpdateRms > 0 ? "s " : "";
            string size = UpdateRms > 0 ? Readable.Text($", s = {UpdateRms} √max(r, c)") : "";
            return Readable.Text(
                $"Muon: m ← μ m + g, W ← W − η ({scale}NS({read}) + λ W); μ = {Decay}, {Steps} steps, λ = {WeightDecay}{size}");
        }
    }

    /// <inheritdoc/>
    public override void Validate()
    {
        Require.Retention(Decay);
        Require.Positive(Steps);
        Require.InRange(UpdateRms, 0, float.MaxValue);
        Require.Finite(WeightDecay);
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">The parameter is not a matrix, or a setting is out of its range.</exception>
    public override OptimizerMemory CreateMemory(Parameter parameter)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        Validate();
        Require.Matrix(parameter, "Muon");
        return new Memory(this, parameter.Value);
    }

    private sealed class Memory : OptimizerMemory
    {
        private readonly Muon _muon;
        private readonly Tensor _m;

        public Memory(Muon muon, Tensor weight)
            : base(muon)
        {
            _muon = muon;
            _m = weight.Device.Zeros(weight.Shape);
            State = [("m", _m)];
        }

        public override IReadOnlyList<(string Name, Tensor Value)> State { get; }

        protected override void Update(Parameter parameter, float learningRate, float errorScale, long commit)
        {
            Tensor weight = parameter.Value;
            float decay = (float)_muon.Decay;
            using Tensor read = weight.Device.Zeros(weight.Shape), direction = weight.Device.Empty(weight.Shape);
            // A weight of zero that descends −r is r.
            MomentCommit.Apply(new MomentTensors(read, parameter.Error, _m), new MomentSettings
            {
                GradientIsBounded = true,
                LearningRate = -1,
                GradientScale = errorScale,
                Keep1 = decay,
                Write1 = 1,
                ReadMoment = _muon.Nesterov ? decay : 1,
                ReadGradient = _muon.Nesterov ? 1 : 0,
            });
            NewtonSchulz.Orthogonalize(read, direction, _muon.Steps);
            MomentCommit.Apply(new MomentTensors(weight, direction), new MomentSettings
            {
                GradientIsBounded = true,
                LearningRate = learningRate,
                GradientScale = _muon.UpdateRms > 0 ? (float)(_muon.UpdateRms * Math.Sqrt(Math.Max(weight.Shape[0], weight.Shape[1]))) : 1,
                Decay = parameter.Decays ? learningRate * _muon.WeightDecay : 0,
            });
        }
    }
}
