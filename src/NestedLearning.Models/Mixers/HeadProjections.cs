namespace NestedLearning.Models;

/// <summary>Queries, keys and values [B, T, H, D/H] as fixed projections of an input [B, T, D].</summary>
internal sealed class HeadProjections
{
    private readonly int _heads;
    private readonly Parameter _query;
    private readonly Parameter _key;
    private readonly Parameter _value;

    public HeadProjections(ParameterFactory make, string name, ModelConfiguration configuration)
    {
        int dim = configuration.Dim;
        double deviation = 1 / Math.Sqrt(dim);
        _heads = configuration.Heads;
        _query = make.Normal($"{name}.query", [dim, dim], deviation);
        _key = make.Normal($"{name}.key", [dim, dim], deviation);
        _value = make.Normal($"{name}.value", [dim, dim], deviation);
    }

    public IEnumerable<Parameter> Parameters => [_query, _key, _value];

    public Variable Query(Tape tape, Variable x) => Project(tape, x, _query);

    public Variable Key(Tape tape, Variable x) => Project(tape, x, _key);

    public Variable Value(Tape tape, Variable x) => Project(tape, x, _value);

    /// <summary>Queries of length one.</summary>
    public Variable UnitQuery(Tape tape, Variable x) => tape.Norm(NormKind.L2, Query(tape, x));

    /// <summary>Keys of length one.</summary>
    public Variable UnitKey(Tape tape, Variable x) => tape.Norm(NormKind.L2, Key(tape, x));

    private Variable Project(Tape tape, Variable x, Parameter weight) =>
        tape.Reshape(tape.Linear(x, tape.Use(weight)), [x.Shape[0], x.Shape[1], _heads, x.Shape[2] / _heads]);
}
