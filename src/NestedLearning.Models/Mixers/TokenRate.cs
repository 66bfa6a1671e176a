namespace NestedLearning.Models;

/// <summary>A number for each token and head [B, T, H] between 0 and 1: sigmoid(x W + b).</summary>
internal sealed class TokenRate(ParameterFactory make, string name, ModelConfiguration configuration, float bias)
{
    private readonly Parameter _weight = make.Normal($"{name}.weight", [configuration.Dim, configuration.Heads],
        1 / Math.Sqrt(configuration.Dim));
    private readonly Parameter _bias = make.Constant($"{name}.bias", [configuration.Heads], bias);

    public Parameter[] Parameters => [_weight, _bias];

    /// <summary>x W + b.</summary>
    public Variable Logit(Tape tape, Variable x) => tape.Linear(x, tape.Use(_weight), tape.Use(_bias));

    public Variable Value(Tape tape, Variable x) => tape.Activate(Activation.Sigmoid, Logit(tape, x));

    /// <summary>log sigmoid(x W + b), the form in which scans take a decay.</summary>
    public Variable Log(Tape tape, Variable x) => tape.Activate(Activation.LogSigmoid, Logit(tape, x));
}
