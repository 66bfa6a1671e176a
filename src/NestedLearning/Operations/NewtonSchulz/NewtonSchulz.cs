namespace NestedLearning.Operations;

/// <summary>Orthogonalisation of a matrix by Newton–Schulz iterations. Arguments are checked before anything is written.</summary>
public static class NewtonSchulz
{
    /// <summary>
    /// Newton–Schulz's orthogonalisation, docs/specification.md, section 3: X ← G/‖G‖_F, then <paramref name="steps"/> times
    /// A = X Xᵀ; X ← 3.4445 X + (−4.7750 A + 2.0315 A²) X. Of a tall G the transpose takes the part of X. The result does not
    /// depend on G's scale; zero stays zero.
    /// </summary>
    /// <param name="g">[r, c]; outer axes are flattened.</param>
    /// <param name="x">As g; may be g.</param>
    /// <param name="steps">At least 0.</param>
    /// <exception cref="ArgumentException">A shape or device does not fit. Nothing was written.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There are fewer than 0 steps. Nothing was written.</exception>
    public static void Orthogonalize(Tensor g, Tensor x, int steps = 5)
    {
        const double First = 3.4445, Third = -4.7750, Fifth = 2.0315;
        Require.Given(g, x);
        Require.SameShape(x, g.Shape);
        if (steps < 0)
            throw new ArgumentOutOfRangeException(nameof(steps), steps, $"steps is {steps}, expected at least 0.");
        if (g.Count == 0)
            return;

        using Held uses = Held.All(g, x);
        // X is held times the fourth root of the last coefficient: then A is held times its square root, A A is the whole
        // last term, and each step is three products with at most a residual.
        double held = Math.Pow(Fifth, 0.25);
        Backend backend = g.Device.Backend;
        bool tall = g.Shape.Rows > g.Shape.Last;
        int n = Math.Min(g.Shape.Rows, g.Shape.Last);
        using Tensor other = g.Device.Empty(g.Shape), a = g.Device.Empty([n, n]), terms = g.Device.Empty([n, n]);
        (Tensor from, Tensor to) = steps % 2 == 0 ? (x, other) : (other, x);
        double norm = Math.Sqrt(backend.SumOfSquares(g));
        if (from != g)
            backend.Copy(g, from);
        GlobalNorm.Normalize(from, norm, held);
        for (int step = 0; step < steps; step++)
        {
            backend.Gemm(new GemmArguments { A = from, B = from, TransposeA = tall, TransposeB = !tall, C = a, Symmetric = true });
            backend.Gemm(new GemmArguments
            {
                A = a, B = a, C = terms, Residual = a, ResidualScale = (float)(Third / Math.Sqrt(Fifth)), Symmetric = true,
            });
            backend.Gemm(new GemmArguments
            {
                A = tall ? from : terms,
                B = tall ? terms : from,
                C = to,
                Residual = from,
                ResidualScale = (float)First,
            });
            (from, to) = (to, from);
        }

        backend.Scale(x, (float)(1 / held));
    }
}
