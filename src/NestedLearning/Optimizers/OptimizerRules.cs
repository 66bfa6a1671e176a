namespace NestedLearning.Optimizers;

/// <summary>Which parameters an optimizer is for.</summary>
/// <param name="For">The rule in words, such as <c>matrices</c>.</param>
/// <param name="Applies">Whether it takes a parameter, by its name and shape.</param>
/// <param name="Optimizer">What it gives them.</param>
public sealed record OptimizerRule(string For, Func<Parameter, bool> Applies, Optimizer Optimizer);

/// <summary>
/// Several optimizers for one level. The first rule that applies to a parameter gives it its optimizer; a parameter that none
/// applies to is an error.
/// </summary>
public sealed class OptimizerRules : Optimizer
{
    private readonly OptimizerRule[] _rules;

    /// <summary>These rules, the first before the others.</summary>
    /// <exception cref="ArgumentException">There is none.</exception>
    public OptimizerRules(params IEnumerable<OptimizerRule> rules)
    {
        _rules = [.. rules];
        if (_rules.Length == 0)
            throw new ArgumentException("There are no rules, expected at least one.", nameof(rules));
    }

    /// <summary>
    /// The parts of names that <see cref="ByShape"/> keeps from the optimizer of matrices: a token's row and a class's row meet
    /// only the gradients of their own token, and a depthwise filter maps nothing.
    /// </summary>
    public static IReadOnlyList<string> NotMatrices { get; } = ["embedding", "head", "convolution"];

    /// <summary>The rules, the first before the others.</summary>
    public IReadOnlyList<OptimizerRule> Rules => _rules;

    // What ByShape keeps from the optimizer of matrices; null where the rules are somebody else's.
    internal IReadOnlyList<string>? Except { get; private init; }

    /// <inheritdoc/>
    public override string Rule => string.Join(" | ", _rules.Select(r => $"{r.For}: {r.Optimizer.Rule}"));

    /// <summary>One optimizer for the weights of hidden layers and another for everything else.</summary>
    /// <param name="matrices">
    /// For parameters [r, c] with neither axis of length 1, unless a part of their name (between dots) is one of <paramref name="except"/>.
    /// </param>
    /// <param name="rest">For all others.</param>
    /// <param name="except">Null is <see cref="NotMatrices"/>.</param>
    public static OptimizerRules ByShape(Optimizer matrices, Optimizer rest, IReadOnlyList<string>? except = null)
    {
        ArgumentNullException.ThrowIfNull(matrices);
        ArgumentNullException.ThrowIfNull(rest);
        except ??= NotMatrices;
        string words = except.Count == 0 ? "matrices" : $"matrices but {string.Join(", ", except)}";
        return new OptimizerRules(new OptimizerRule(words, IsMatrix, matrices), new OptimizerRule("rest", _ => true, rest))
        {
            Except = [.. except],
        };

        bool IsMatrix(Parameter parameter) =>
            parameter.Value.Shape is { Rank: 2 } shape && shape[0] > 1 && shape[1] > 1 && !parameter.Name.Split('.').Any(except.Contains);
    }

    /// <summary>Checks every setting of every optimizer.</summary>
    /// <exception cref="ArgumentException">A setting is out of its range; the message names it, its value and what is allowed.</exception>
    public override void Validate()
    {
        foreach (OptimizerRule rule in _rules)
            rule.Optimizer.Validate();
    }

    /// <summary>The memory of the optimizer that the rules choose.</summary>
    /// <exception cref="ArgumentException">No rule applies, or the optimizer refuses the parameter.</exception>
    public override OptimizerMemory CreateMemory(Parameter parameter)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        OptimizerRule rule = Array.Find(_rules, r => r.Applies(parameter))
            ?? throw new ArgumentException($"No rule applies to '{parameter.Name}' {parameter.Value.Shape}: " +
                $"{string.Join(", ", _rules.Select(r => r.For))}.", nameof(parameter));
        return rule.Optimizer.CreateMemory(parameter);
    }
}
