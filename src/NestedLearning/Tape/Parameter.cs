namespace NestedLearning;

/// <summary>
/// A tensor that a level learns: its value, and the error term gathered for it since its level's last commit.
/// </summary>
public sealed class Parameter : IDisposable
{
    /// <summary>A parameter that owns <paramref name="value"/>.</summary>
    /// <param name="name">Unique within a model; the name in checkpoints.</param>
    /// <param name="value">The initial value; the parameter disposes it.</param>
    /// <param name="decays">Whether weight decay applies. Leave it off for gains, biases and initial states.</param>
    public Parameter(string name, Tensor value, bool decays = true)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentNullException.ThrowIfNull(value);
        Name = name;
        Value = value;
        Decays = decays;
        Error = value.Device.Zeros(value.Shape);
    }

    /// <summary>The name in checkpoints.</summary>
    public string Name { get; }

    /// <summary>θ.</summary>
    public Tensor Value { get; }

    /// <summary>Σ of the error terms (gradients) since the last commit; backward passes add to it.</summary>
    public Tensor Error { get; }

    /// <summary>Whether weight decay applies.</summary>
    public bool Decays { get; }

    /// <summary>Error += weight · error: one step's error term η_t f(θ_t; x_t) of NL 71, given by hand.</summary>
    /// <exception cref="ArgumentException">The shapes or devices differ.</exception>
    public void AddError(Tensor error, float weight = 1) => Elementwise.AddScaled(weight, error, Error);

    /// <summary>
    /// The part of the error terms that linear layers leave as factors, for an optimizer that asked for it; else null, and
    /// all of them are summed in <see cref="Error"/>.
    /// </summary>
    public GradientFactors? Factors { get; private set; }

    /// <summary>
    /// From now on linear layers leave the factors of this weight's gradient in <see cref="Factors"/> and not their product in
    /// <see cref="Error"/>.
    /// </summary>
    /// <exception cref="ArgumentException">The parameter is not a matrix [K, N].</exception>
    public void KeepFactors()
    {
        Require.Rank(Value, 2, "[K, N]", Name);
        Factors ??= new GradientFactors(Value);
    }

    /// <summary>Forgets the error terms.</summary>
    public void ClearError()
    {
        Error.Fill(0);
        Factors?.Clear();
    }

    /// <summary>‖Σ of the error terms‖², factors multiplied out.</summary>
    internal double SquaredErrorNorm()
    {
        if (Factors is not { Tokens: > 0 } factors)
            return Error.Device.Backend.SumOfSquares(Error);
        using Tensor gradient = Error.Clone();
        factors.AddProductTo(gradient);
        return gradient.Device.Backend.SumOfSquares(gradient);
    }

    /// <summary>Frees the tensors.</summary>
    public void Dispose()
    {
        Value.Dispose();
        Error.Dispose();
        Factors?.Dispose();
    }
}
