namespace NestedLearning.Models;

/// <summary>The nonlinearity of an MLP's hidden units.</summary>
public enum MlpActivation
{
    /// <summary>x Φ(x), with erf.</summary>
    Gelu,

    /// <summary>GELU's tanh approximation, ½ x (1 + tanh(√(2/π) (x + 0.044715 x³))), as in GPT-2.</summary>
    GeluTanh,

    /// <summary>x sigmoid(x).</summary>
    Silu,
}

/// <summary>The form of every level's MLP.</summary>
public sealed record MlpForm
{
    /// <summary>What normalises the block's input; null is nothing.</summary>
    public NormKind? Norm { get; init; } = NormKind.Rms;

    /// <summary>ε of the norm.</summary>
    public float NormEpsilon { get; init; } = 1e-6f;

    /// <summary>The nonlinearity.</summary>
    public MlpActivation Activation { get; init; }

    /// <summary>Whether hidden units are φ(x W_gate + b_gate) ∘ (x W_in + b_in) in place of φ(x W_in + b_in), as in SwiGLU.</summary>
    public bool Gated { get; init; }

    /// <summary>Whether the output has a bias.</summary>
    public bool OutputBias { get; init; }

    /// <exception cref="ArgumentException">A setting is out of its range.</exception>
    internal void Validate()
    {
        if (Norm is { } norm && !Enum.IsDefined(norm))
            throw new ArgumentException($"{nameof(Norm)} is {norm}, expected {string.Join(", ", Enum.GetNames<NormKind>())} or null.");
        if (!(NormEpsilon >= 0 && float.IsFinite(NormEpsilon)))
            throw new ArgumentException($"{nameof(NormEpsilon)} is {NormEpsilon}, expected a finite number of at least 0.");
        if (!Enum.IsDefined(Activation))
            throw new ArgumentException($"{nameof(Activation)} is {Activation}, expected " +
                $"{string.Join(", ", Enum.GetNames<MlpActivation>())}.");
    }
}

/// <summary>
/// One level's MLP without its residual: f(x) = φ(norm(x) W_in + b_in) W_out + b_out, or
/// (φ(norm(x) W_gate + b_gate) ∘ (norm(x) W_in + b_in)) W_out + b_out. W_in, W_gate [D, N], W_out [N, D].
/// </summary>
internal sealed class ContinuumMlp
{
    private readonly MlpForm _form;

    public ContinuumMlp(ParameterFactory make, string name, int dim, int hidden, MlpForm form, double outputDeviation)
    {
        _form = form;
        Gain = form.Norm is null or NormKind.L2 ? null : make.Constant($"{name}.norm", [dim], 1);
        Shift = form.Norm == NormKind.Layer ? make.Constant($"{name}.norm_bias", [dim], 0) : null;
        In = make.Normal($"{name}.in", [dim, hidden], 1 / Math.Sqrt(dim));
        InBias = make.Constant($"{name}.in_bias", [hidden], 0);
        Gate = form.Gated ? make.Normal($"{name}.gate", [dim, hidden], 1 / Math.Sqrt(dim)) : null;
        GateBias = form.Gated ? make.Constant($"{name}.gate_bias", [hidden], 0) : null;
        Out = make.Normal($"{name}.out", [hidden, dim], outputDeviation / Math.Sqrt(hidden));
        OutBias = form.OutputBias ? make.Constant($"{name}.out_bias", [dim], 0) : null;
    }

    public Parameter? Gain { get; }

    public Parameter? Shift { get; }

    public Parameter In { get; }

    public Parameter InBias { get; }

    public Parameter? Gate { get; }

    public Parameter? GateBias { get; }

    public Parameter Out { get; }

    public Parameter? OutBias { get; }

    public IEnumerable<Parameter> Parameters =>
        ((Parameter?[])[Gain, Shift, In, InBias, Gate, GateBias, Out, OutBias]).OfType<Parameter>();

    /// <summary>
    /// residual + f(x), with norm(x) times 1 + <paramref name="generated"/> where another block writes that; each [B, T, D].
    /// </summary>
    public Variable Forward(Tape tape, Variable x, Variable? generated, Variable? residual)
    {
        Variable u = _form.Norm is { } norm ? tape.Norm(norm, x, Use(Gain), Use(Shift), _form.NormEpsilon) : x;
        if (generated is not null)
            u = tape.Add(u, tape.Multiply(u, generated));
        if (_form is { Activation: MlpActivation.Gelu, Gated: false })
            return tape.Mlp(u, tape.Use(In), tape.Use(InBias), tape.Use(Out), Use(OutBias), residual);
        Variable hidden = tape.Linear(u, tape.Use(In), tape.Use(InBias));
        hidden = Gate is null ? Activate(tape, hidden)
            : tape.Multiply(Activate(tape, tape.Linear(u, tape.Use(Gate), Use(GateBias))), hidden);
        return tape.Linear(hidden, tape.Use(Out), Use(OutBias), residual);

        Variable? Use(Parameter? parameter) => parameter is null ? null : tape.Use(parameter);
    }

    /// <summary>Takes over the pretrained MLP's hidden units from <paramref name="first"/> on, as many as there are here.</summary>
    public void WarmStart(PretrainedMlp mlp, int first, float outputScale)
    {
        int dim = mlp.Dim, units = InBias.Value.Count;
        SetNorm(mlp);
        In.Value.CopyFrom(Columns(mlp.In));
        Set(InBias, mlp.InBias?[first..(first + units)]);
        Gate?.Value.CopyFrom(Columns(mlp.Gate!));
        Set(GateBias, mlp.GateBias?[first..(first + units)]);
        Out.Value.CopyFrom(Array.ConvertAll(mlp.Out[(first * dim)..((first + units) * dim)], w => w * outputScale));
        // The weights of a sum are together 1, and every block has the whole bias.
        Set(OutBias, mlp.OutBias);

        float[] Columns(float[] matrix)
        {
            float[] columns = new float[dim * units];
            for (int d = 0; d < dim; d++)
                matrix.AsSpan(d * mlp.Hidden + first, units).CopyTo(columns.AsSpan(d * units));
            return columns;
        }
    }

    /// <summary>f(x) = 0 behind the pretrained norm.</summary>
    public void WarmStartAsIdentity(PretrainedMlp mlp)
    {
        SetNorm(mlp);
        Out.Value.Fill(0);
    }

    private void SetNorm(PretrainedMlp mlp)
    {
        Set(Gain, mlp.NormGain);
        Set(Shift, mlp.NormBias);
    }

    // What the checkpoint has none of stays as it is: gains of 1, biases of 0.
    private static void Set(Parameter? parameter, ReadOnlySpan<float> values)
    {
        if (!values.IsEmpty)
            parameter!.Value.CopyFrom(values);
    }

    private Variable Activate(Tape tape, Variable x)
    {
        if (_form.Activation == MlpActivation.Gelu)
            return tape.Activate(Activation.Gelu, x);
        // ½ (1 + tanh z) = sigmoid(2 z).
        Variable inner = _form.Activation == MlpActivation.Silu ? x : tape.Multiply(x, TanhArgument(tape, x));
        return tape.Multiply(x, tape.Activate(Activation.Sigmoid, inner));
    }

    // 2 √(2/π) (1 + 0.044715 x²).
    private static Variable TanhArgument(Tape tape, Variable x)
    {
        double slope = 2 * Math.Sqrt(2 / Math.PI);
        Variable one = tape.Input(tape.Keep(tape.Device.Full(x.Shape, (float)slope)));
        Variable cubic = tape.Input(tape.Keep(tape.Device.Full(x.Shape, (float)(0.044715 * slope))));
        return tape.Add(tape.Multiply(tape.Multiply(x, x), cubic), one);
    }
}
