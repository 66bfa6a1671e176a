using NestedLearning.Testing;
using Xunit;

namespace NestedLearning.Tests;

/// <summary>An optimizer of docs/specification.md, section 3 with its reference.</summary>
/// <param name="Name">The test's name for it.</param>
/// <param name="Optimizer">With settings away from their defaults.</param>
/// <param name="Reference">Of a weight [rows, columns] that starts as w.</param>
/// <param name="Tolerance">Of the weight after many steps.</param>
public sealed record OptimizerCase(string Name, Optimizer Optimizer, Func<int, int, double[], ReferenceOptimizer> Reference,
    double Tolerance)
{
    // Through Newton–Schulz.
    private static readonly double s_orthogonal = Tolerances.NewtonSchulz.Forward;

    /// <summary>All of them.</summary>
    public static IReadOnlyList<OptimizerCase> All { get; } =
    [
        Case("gradient-descent", new GradientDescent { WeightDecay = 0.1f }, (r, c, w) => new ReferenceGradientDescent(r, c, w, 0.1f)),
        Case("follow-the-regularized-leader", new FollowTheRegularizedLeader(), (r, c, w) => new ReferenceGradientDescent(r, c, w)),
        Case("momentum-heavy-ball", new Momentum { Decay = 0.8, WeightDecay = 0.1f }, (r, c, w) =>
            new ReferenceMomentum(r, c, w, 0.8, 1, false, 0.1f)),
        Case("momentum-average", new Momentum { Decay = 0.8, Average = true }, (r, c, w) => new ReferenceMomentum(r, c, w, 0.8, 1 - 0.8)),
        Case("nesterov", new Momentum { Decay = 0.8, Nesterov = true, WeightDecay = 0.1f }, (r, c, w) =>
            new ReferenceMomentum(r, c, w, 0.8, 1, true, 0.1f)),
        Case("nesterov-average", new Momentum { Decay = 0.8, Nesterov = true, Average = true }, (r, c, w) =>
            new ReferenceMomentum(r, c, w, 0.8, 1 - 0.8, true)),
        Case("adagrad", new AdaGrad { Epsilon = 0.01f, WeightDecay = 0.1f }, (r, c, w) => new ReferenceAdaGrad(r, c, w, 0.01f, 0.1f)),
        Case("adam", new Adam { Decoupled = false, WeightDecay = 0.1f }, (r, c, w) => new ReferenceAdam(r, c, w, Adam(false))),
        Case("adamw", new Adam { WeightDecay = 0.1f }, (r, c, w) => new ReferenceAdam(r, c, w, Adam(true))),
        Case("preconditioned-identity", new PreconditionedMomentum { Decay = 0.7 }, (r, c, w) => Matrix(r, c, w, 0.7, 0)),
        Case("preconditioned-diagonal",
            new PreconditionedMomentum { Decay = 0.7, Preconditioner = new DiagonalPreconditioner { Decay = 0.9, Epsilon = 0.01f } },
            (r, c, w) => Matrix(r, c, w, 0.7, 0, new ReferenceDiagonalPreconditioner(0.9, 0.01f).Precondition)),
        Case("preconditioned-matrix",
            new PreconditionedMomentum { Decay = 0.7, Preconditioner = new MatrixPreconditioner { Decay = 0.9, Ridge = 0.1f, Period = 3 } },
            (r, c, w) => Matrix(r, c, w, 0.7, 0, new ReferenceMatrixPreconditioner(r, c, 0.9, 0.1f, 3).Precondition)),
        Case("feature-map-cubic", new PreconditionedMomentum { Decay = 0.7, Features = FeatureMap.Cubic },
            (r, c, w) => Matrix(r, c, w, 0.7, 0, features: g => Array.ConvertAll(g, x => x * x * x))),
        Case("feature-map-unit-rows",
            new PreconditionedMomentum
            {
                Decay = 0.7, Features = FeatureMap.UnitRows, Preconditioner = new DiagonalPreconditioner { Decay = 0.9, Epsilon = 0.01f },
            },
            (r, c, w) => Matrix(r, c, w, 0.7, 0, new ReferenceDiagonalPreconditioner(0.9, 0.01f).Precondition,
                g => ReferenceDense.Norm(NormKind.L2, g, c, null, null, 1e-20))),
        Case("delta-momentum", new DeltaMomentum { Decay = 0.7, Erase = 0.6f }, (r, c, w) => Matrix(r, c, w, 0.7, 0.6f)),
        Case("delta-momentum-preconditioned",
            new DeltaMomentum { Decay = 0.7, Erase = 1, Preconditioner = new DiagonalPreconditioner { Decay = 0.9, Epsilon = 0.01f } },
            (r, c, w) => Matrix(r, c, w, 0.7, 1, new ReferenceDiagonalPreconditioner(0.9, 0.01f).Precondition)),
        Case("deep-momentum", new DeepMomentum { Hidden = 5, Seed = 3 }, (r, c, w) => Deep(r, c, w, 1, 1, 0, true, false)),
        Case("deep-momentum-dot", new DeepMomentum
        {
            Hidden = 5, Seed = 3, Decay = 0.9, InnerRate = 0.5f, Erase = 0.05f, Objective = MemoryObjective.DotProduct, Residual = true,
            Preconditioner = new DiagonalPreconditioner { Decay = 0.9, Epsilon = 0.01f },
        },
            (r, c, w) => Deep(r, c, w, 0.9, 0.5, 0.05f, false, true, new ReferenceDiagonalPreconditioner(0.9, 0.01f).Precondition)),
        Case("muon", new Muon { Decay = 0.8 }, (r, c, w) => new ReferenceMuon(r, c, w, 0.8, false, 1, 0), s_orthogonal),
        Case("muon-nesterov", new Muon { Decay = 0.8, Nesterov = true, UpdateRms = 0.2f, WeightDecay = 0.1f, Steps = 3 },
            (r, c, w) => new ReferenceMuon(r, c, w, 0.8, true, 0.2f * Math.Sqrt(Math.Max(r, c)), 0.1f, 3), s_orthogonal),
        Case("m3", new M3 { Beta1 = 0.8f, Beta2 = 0.7f, Beta3 = 0.6f, SlowWeight = 0.4f, Period = 3, Epsilon = 0.1f, WeightDecay = 0.1f },
            (r, c, w) => new ReferenceM3(r, c, w, 0.8f, 0.7f, 0.6f, 0.4f, 0.1f, 3, 0.1f), s_orthogonal),
    ];

    /// <summary>Their names, for theories.</summary>
    public static TheoryData<string> Names => [.. All.Select(c => c.Name)];

    /// <summary>The one of a name.</summary>
    public static OptimizerCase Find(string name) => All.Single(c => c.Name == name);

    private static OptimizerCase Case(string name, Optimizer optimizer, Func<int, int, double[], ReferenceOptimizer> reference,
        double? tolerance = null) =>
        new(name, optimizer, reference, tolerance ?? Tolerances.Optimizer.Forward);

    private static AdamSettings Adam(bool decoupled) => new(0, 0.9, 0.999, 1e-8f, 0.1f, decoupled, 1, 1);

    // The memory's start is drawn by the optimizer for a parameter called w: taken from its state after a commit that teaches nothing.
    private static ReferenceDeepMomentum Deep(
        int rows, int columns, double[] w, double decay, double innerRate, double erase, bool l2, bool residual, Func<double[],
        double[]>? precondition = null)
    {
        using Device device = Device.Open("managed");
        using var parameter = new Parameter("w", device.Zeros([rows, columns]));
        using OptimizerMemory memory = new DeepMomentum { Hidden = 5, Seed = 3 }.CreateMemory(parameter);
        memory.Commit(parameter, 1, 1);
        double[] start = Compare.ToDouble(memory.State.Single(s => s.Name == "w2").Value.ToArray());
        return new ReferenceDeepMomentum(rows, columns, w, start, decay, innerRate, erase, l2, residual, precondition ?? (g => g));
    }

    private static ReferenceMatrixMomentum Matrix(
        int rows, int columns, double[] w, double alpha, double erase, Func<double[], double[]>? precondition = null, Func<double[],
        double[]>? features = null) =>
        new(rows, columns, w, alpha, erase, precondition ?? (g => g), features ?? (g => g));
}
