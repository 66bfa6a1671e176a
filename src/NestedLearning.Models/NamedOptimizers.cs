namespace NestedLearning.Models;

/// <summary>
/// Update rules for levels by name. Those that are made for matrices take the weights of hidden layers, and AdamW what is left;
/// see <see cref="OptimizerRules.ByShape"/>.
/// </summary>
public static class NamedOptimizers
{
    private static readonly (string Name, Func<Optimizer> Create)[] s_all =
    [
        ("adamw", () => Rest),
        ("gradient-descent", () => new GradientDescent()),
        ("momentum", () => new Momentum()),
        ("adagrad", () => new AdaGrad()),
        ("delta-gradient-descent", () => new DeltaGradientDescent()),
        ("delta-momentum", () => OptimizerRules.ByShape(new DeltaMomentum(), Rest)),
        ("muon", () => OptimizerRules.ByShape(new Muon { UpdateRms = 0.2f }, Rest)),
        ("m3", () => OptimizerRules.ByShape(new M3(), Rest)),
    ];

    /// <summary>The names.</summary>
    public static IReadOnlyList<string> Names { get; } = [.. s_all.Select(o => o.Name)];

    private static Adam Rest => new() { WeightDecay = 0.01f };

    /// <summary>An update rule with its usual settings.</summary>
    /// <exception cref="ArgumentException">There is none of that name.</exception>
    public static Optimizer Create(string name)
    {
        foreach ((string known, Func<Optimizer> create) in s_all)
        {
            if (known == name)
                return create();
        }

        throw new ArgumentException($"There is no optimizer '{name}', expected one of {string.Join(", ", Names)}.", nameof(name));
    }
}
