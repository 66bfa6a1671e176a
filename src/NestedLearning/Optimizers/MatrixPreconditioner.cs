namespace NestedLearning.Optimizers;

/// <summary>
/// P as a matrix, the inverse of a regularised second moment. For a parameter [r, c] with r ≤ c
/// <code>
/// H ← ρ H + (1 − ρ) g gᵀ;   P = (H + λ h I)⁻¹,   h = ‖H‖_F/√r
/// </code>
/// and P g; where r > c, gᵀ g [c, c] and g P. h is the root mean square of H's eigenvalues, so that λ has no unit. P is a level of
/// its own: H is written at every commit, P made from it at every <see cref="Period"/>-th, the first among them.
/// </summary>
public sealed class MatrixPreconditioner : Preconditioner
{
    private const float LeastRidge = 1e-4f;

    /// <summary>ρ, in [0, 1).</summary>
    public double Decay { get; init; } = 0.99;

    /// <summary>λ, 10⁻⁴ to 1: what is below that of H's eigenvalues float32 cannot invert.</summary>
    public float Ridge { get; init; } = 1e-2f;

    /// <summary>Commits from one P to the next.</summary>
    public int Period { get; init; } = 1;

    /// <inheritdoc/>
    public override string Rule => Readable.Text(
        $"H ← ρ H + (1 − ρ) g gᵀ, P = (H + λ ‖H‖/√r I)⁻¹ every {Period} commits; ρ = {Decay}, λ = {Ridge}");

    /// <inheritdoc/>
    public override void Validate()
    {
        Require.Retention(Decay);
        Require.InRange(Ridge, LeastRidge, 1);
        Require.Positive(Period);
    }

    /// <inheritdoc/>
    public override PreconditionerMemory CreateMemory(Parameter parameter)
    {
        ArgumentNullException.ThrowIfNull(parameter);
        Validate();
        Require.Matrix(parameter, "A matrix preconditioner");
        return new Memory(this, parameter.Value);
    }

    private sealed class Memory : PreconditionerMemory
    {
        private readonly MatrixPreconditioner _settings;
        private readonly bool _tall;
        private readonly Tensor _h;
        private readonly Tensor _p;

        public Memory(MatrixPreconditioner settings, Tensor weight)
        {
            _settings = settings;
            _tall = weight.Shape[0] > weight.Shape[1];
            int n = Math.Min(weight.Shape[0], weight.Shape[1]);
            _h = weight.Device.Zeros([n, n]);
            _p = weight.Device.Zeros([n, n]);
            State = [("h", _h), ("p", _p)];
        }

        public override IReadOnlyList<(string Name, Tensor Value)> State { get; }

        public override IReadOnlyList<OptimizerMemoryLevel> Levels =>
            [new("h", Period: 1, OptimizerMemory.Bytes(_h)), new("p", _settings.Period, OptimizerMemory.Bytes(_p))];

        public override void Precondition(Tensor gradient, long commit)
        {
            Device device = gradient.Device;
            using Tensor square = device.Empty(_h.Shape), preconditioned = device.Empty(gradient.Shape);
            Gemm.Multiply(new GemmArguments
            {
                A = gradient, TransposeA = _tall, B = gradient, TransposeB = !_tall, C = square, Symmetric = true,
            });
            device.Backend.Scale(_h, (float)_settings.Decay);
            Elementwise.AddScaled((float)(1 - _settings.Decay), square, _h);
            if ((commit - 1) % _settings.Period == 0)
                Invert();
            Gemm.Multiply(_tall
                ? new GemmArguments { A = gradient, B = _p, C = preconditioned }
                : new GemmArguments { A = _p, B = gradient, C = preconditioned });
            gradient.CopyFrom(preconditioned);
        }

        // P ← A⁻¹, A = H + λ h I, by the Newton iteration (Hotelling, Schulz) for N = −P: N ← N + N (A N + I). It starts from
        // −I/‖A‖_F, for which A N + I has eigenvalues in [0, 1 − 1/κ], and each step squares them.
        private void Invert()
        {
            Backend backend = _h.Device.Backend;
            int n = _h.Shape[0];
            double scale = Math.Sqrt(backend.SumOfSquares(_h) / n);
            if (scale == 0)
            {
                _p.Fill(0);
                return;
            }

            using Tensor identity = Identity(n), a = _h.Clone(), residual = _h.Device.Empty(_h.Shape), next = _h.Device.Empty(_h.Shape);
            Elementwise.AddScaled((float)(_settings.Ridge * scale), identity, a);
            double norm = Math.Sqrt(backend.SumOfSquares(a));
            _p.Fill(0);
            Elementwise.AddScaled((float)(-1 / norm), identity, _p);
            int steps = (int)Math.Ceiling(Math.Log2(norm / (_settings.Ridge * scale))) + 5;
            for (int step = 0; step < steps; step++)
            {
                Gemm.Multiply(new GemmArguments { A = a, B = _p, C = residual, Residual = identity });
                Gemm.Multiply(new GemmArguments { A = _p, B = residual, C = next, Residual = _p });
                _p.CopyFrom(next);
            }

            backend.Scale(_p, -1);
        }

        private Tensor Identity(int n)
        {
            float[] elements = new float[n * n];
            for (int i = 0; i < n; i++)
                elements[i * n + i] = 1;
            return _h.Device.From([n, n], elements);
        }
    }
}
