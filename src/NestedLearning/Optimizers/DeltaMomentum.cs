namespace NestedLearning.Optimizers;

/// <summary>
/// Momentum written by the delta rule (NL 48–49): what the momentum answers to the gradient that comes is partly erased before
/// the gradient is written.
/// <code>
/// m ← α m − ε (m gᵀ) g/‖g‖²_F − η P g;   W ← W + m
/// </code>
/// Divided by ‖g‖²_F, which is no smaller than the largest eigenvalue of gᵀ g, the erase is stable for ε ≤ 1. Matrices are
/// taken as they are stored: the rows of g are the keys.
/// </summary>
public sealed class DeltaMomentum : Optimizer
{
    /// <summary>α, in [0, 1).</summary>
    public double Decay { get; init; } = 0.9;

    /// <summary>ε, 0 to 1; with 0 nothing is erased.</summary>
    public float Erase { get; init; } = 1;

    /// <summary>P, a memory of g.</summary>
    public Preconditioner Preconditioner { get; init; } = Preconditioner.Identity;

    /// <inheritdoc/>
    public override string Rule => Readable.Text(
        $"Delta momentum: m ← α m − ε (m gᵀ) g/‖g‖² − η {(Preconditioner.Rule.Length > 0 ? "P g" : "g")}, W ← W + m; α = {Decay}, ε = " +
        $"{Erase}{(Preconditioner.Rule.Length > 0 ? $"; {Preconditioner.Rule}" : "")}");

    /// <inheritdoc/>
    public override void Validate()
    {
        Require.Retention(Decay);
        Require.InRange(Erase, 0, 1);
        Preconditioner.Validate();
    }

    /// <inheritdoc/>
    /// <exception cref="ArgumentException">The parameter is not a matrix, or a setting is out of its range.</exception>
    public override OptimizerMemory CreateMemory(Parameter parameter)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        Validate();
        Require.Matrix(parameter, "Delta momentum");
        return new Memory(this, Preconditioner.CreateMemory(parameter), parameter.Value);
    }

    private sealed class Memory(DeltaMomentum optimizer, PreconditionerMemory preconditioner, Tensor weight)
        : LinearMomentumMemory(optimizer, preconditioner, weight)
    {
        protected override void Update(Parameter parameter, float learningRate, float errorScale, long commit)
        {
            using Tensor g = parameter.Error.Clone();
            g.Device.Backend.Scale(g, errorScale);
            Forget(g);
            Preconditioner.Precondition(g, commit);
            WriteAndMove(parameter, g, keep: 1, learningRate);
        }

        // m ← α m − ε m uᵀ u with u = g/‖g‖, which is no number out of float32's range, and the smaller of uᵀ u and m uᵀ in between.
        private void Forget(Tensor gradient)
        {
            Backend backend = gradient.Device.Backend;
            int rows = gradient.Shape[0], columns = gradient.Shape[1];
            double norm = GlobalNorm.Of(gradient);
            float erase = -optimizer.Erase;
            using Tensor kept = M.Clone(), g = gradient.Clone();
            GlobalNorm.Normalize(g, norm, 1);
            if (rows < columns)
            {
                using Tensor answers = g.Device.Empty([rows, rows]);
                Gemm.Multiply(new GemmArguments { A = M, B = g, TransposeB = true, C = answers });
                backend.Scale(answers, erase);
                Gemm.Multiply(new GemmArguments { A = answers, B = g, C = M, Residual = kept, ResidualScale = (float)optimizer.Decay });
            }
            else
            {
                using Tensor keys = g.Device.Empty([columns, columns]);
                Gemm.Multiply(new GemmArguments { A = g, TransposeA = true, B = g, C = keys, Symmetric = true });
                backend.Scale(keys, erase);
                Gemm.Multiply(new GemmArguments { A = kept, B = keys, C = M, Residual = kept, ResidualScale = (float)optimizer.Decay });
            }
        }
    }
}
