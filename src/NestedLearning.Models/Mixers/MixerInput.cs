namespace NestedLearning.Models;

/// <summary>What stands before every mixer: a norm and, unless it is turned off, a causal convolution of width 4 over the tokens.</summary>
internal sealed class MixerInput
{
    private const string Convolution = "convolution";
    private readonly int _dim;
    private readonly Parameter _norm;
    private readonly Parameter? _convolution;

    public MixerInput(ParameterFactory make, string name, ModelConfiguration configuration)
    {
        _dim = configuration.Dim;
        _norm = make.Constant($"{name}.norm", [_dim], 1);
        if (configuration.Convolution)
            _convolution = make.From($"{name}.convolution", [_dim, CausalConvolution.Width], LastTap(make.Random()));
    }

    public IEnumerable<Parameter> Parameters => _convolution is null ? [_norm] : [_norm, _convolution];

    public IEnumerable<StatePart> State => _convolution is null
        ? []
        : [new(Convolution, (batch, _) => [batch, CausalConvolution.Width - 1, _dim], OutlivesContext: true)];

    public IEnumerable<StateDescription> Describe() => _convolution is null
        ? []
        : [new("convolution", [Convolution], "the last three inputs", "tokens", "y_t = Σ_j w_j ∘ x_{t−3+j}, j = 0 … 3")];

    /// <summary>The mixer's input [B, T, D] for x [B, T, D], and what it adds to the next state.</summary>
    public (Variable Mixed, (string, Tensor)[] Next) Forward(Tape tape, Variable x, MixerState state)
    {
        Variable normed = tape.Norm(NormKind.Rms, x, tape.Use(_norm));
        if (_convolution is null)
            return (normed, []);
        Tensor before = state[Convolution]!, after = tape.Keep(tape.Device.Empty(before.Shape));
        return (tape.CausalConvolution(normed, tape.Use(_convolution), null, before, after), [(Convolution, after)]);
    }

    // It starts as the identity with a little of the tokens before.
    private float[] LastTap(CounterRandom random)
    {
        float[] weights = new float[_dim * CausalConvolution.Width];
        random.FillNormal(weights, 0.1f);
        for (int d = 0; d < _dim; d++)
            weights[d * CausalConvolution.Width + CausalConvolution.Width - 1] += 1;
        return weights;
    }
}
