namespace NestedLearning.Models;

/// <summary>What stands behind a mixer: x + y W, the heads side by side.</summary>
internal sealed class MixerOutput
{
    private readonly Parameter _output;

    public MixerOutput(ParameterFactory make, string name, ModelConfiguration configuration, double deviation) =>
        _output = make.Normal($"{name}.output", [configuration.Dim, configuration.Dim], deviation * (1 / Math.Sqrt(configuration.Dim)));

    public Parameter Parameter => _output;

    /// <summary>[B, T, D] for reads [B, T, H, D/H] and the residual stream x [B, T, D].</summary>
    public Variable Forward(Tape tape, Variable reads, Variable x) =>
        tape.Linear(tape.Reshape(reads, x.Shape), tape.Use(_output), residual: x);
}
