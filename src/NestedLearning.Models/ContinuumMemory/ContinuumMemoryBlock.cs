namespace NestedLearning.Models;

/// <summary>
/// A chained continuum memory system (NL 70): y = MLP_k(… MLP_1(x)), one residual MLP a level,
/// MLP_ℓ(x) = x + φ(norm(x) W_in + b_in) W_out, each committed at its own level's frequency.
/// </summary>
internal sealed class ContinuumMemoryBlock
{
    private readonly (Parameter Gain, Parameter WeightIn, Parameter BiasIn, Parameter WeightOut)[] _levels;

    public ContinuumMemoryBlock(ParameterFactory make, string name, int dim, IReadOnlyList<int> hidden, double outputDeviation)
    {
        _levels = [.. hidden.Select((n, level) => (
            make.Constant($"{name}.{level}.norm", [dim], 1),
            make.Normal($"{name}.{level}.in", [dim, n], 1 / Math.Sqrt(dim)),
            make.Constant($"{name}.{level}.in_bias", [n], 0),
            make.Normal($"{name}.{level}.out", [n, dim], outputDeviation / Math.Sqrt(n))))];
    }

    /// <summary>The parameters of one level's MLP.</summary>
    public IEnumerable<Parameter> Parameters(int level) =>
        [_levels[level].Gain, _levels[level].WeightIn, _levels[level].BiasIn, _levels[level].WeightOut];

    /// <summary>y [B, T, D] for x [B, T, D].</summary>
    public Variable Forward(Tape tape, Variable x)
    {
        foreach ((Parameter gain, Parameter weightIn, Parameter biasIn, Parameter weightOut) in _levels)
        {
            Variable normed = tape.Norm(NormKind.Rms, x, tape.Use(gain));
            x = tape.Mlp(normed, tape.Use(weightIn), tape.Use(biasIn), tape.Use(weightOut), null, residual: x);
        }

        return x;
    }
}
