namespace NestedLearning;

public static partial class Dense
{
    /// <summary>
    /// C = op(A) op(B), or that added to C, for each of N pairs of matrices; N stands for all axes but the last two, the
    /// same in all three tensors.
    /// </summary>
    /// <param name="a">[N, M, K], or [N, K, M] when transposed.</param>
    /// <param name="b">[N, K, P], or [N, P, K] when transposed.</param>
    /// <param name="c">[N, M, P].</param>
    /// <param name="transposeA">Whether each matrix of a is used as its transpose.</param>
    /// <param name="transposeB">Whether each matrix of b is used as its transpose.</param>
    /// <param name="accumulate">Whether the products are added to c instead of written.</param>
    /// <exception cref="ArgumentException">A shape or device does not fit. Nothing was written.</exception>
    public static void BatchedGemm(Tensor a, Tensor b, Tensor c, bool transposeA = false, bool transposeB = false, bool accumulate = false)
    {
        Given(c, a);
        Given(c, b);
        if (c.Shape.Rank < 2)
            throw new ArgumentException($"c has shape {c.Shape}, expected [.., M, P].", nameof(c));
        if (a.Shape.Rank < 2)
            throw new ArgumentException($"a has shape {a.Shape}, expected [.., M, K].", nameof(a));
        int m = c.Shape[^2], n = c.Shape[^1], k = a.Shape[transposeA ? ^2 : ^1];
        ReadOnlySpan<int> batch = c.Shape.AsSpan()[..^2];
        Require.SameShape(a, transposeA ? [.. batch, k, m] : [.. batch, m, k]);
        Require.SameShape(b, transposeB ? [.. batch, n, k] : [.. batch, k, n]);
        c.Device.Backend.BatchedGemm(a, b, c, transposeA, transposeB, accumulate);
    }

    /// <summary>
    /// Newton–Schulz's orthogonalisation, docs/specification.md, section 3: X ← G/(‖G‖_F + 1e−7), then <paramref name="steps"/> times
    /// A = X Xᵀ; X ← 3.4445 X + (−4.7750 A + 2.0315 A²) X. Of a tall G the transpose takes the part of X.
    /// </summary>
    /// <param name="g">[r, c]; outer axes are flattened.</param>
    /// <param name="x">As g; may be g.</param>
    /// <param name="steps">At least 0.</param>
    /// <exception cref="ArgumentException">A shape or device does not fit. Nothing was written.</exception>
    /// <exception cref="ArgumentOutOfRangeException">There are fewer than 0 steps. Nothing was written.</exception>
    public static void NewtonSchulz(Tensor g, Tensor x, int steps = 5)
    {
        const double First = 3.4445, Third = -4.7750, Fifth = 2.0315, Epsilon = 1e-7;
        Given(g, x);
        Require.SameShape(x, g.Shape);
        if (steps < 0)
            throw new ArgumentOutOfRangeException(nameof(steps), steps, $"steps is {steps}, expected at least 0.");
        if (g.Count == 0)
            return;

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
        backend.Scale(from, (float)(held / (norm + Epsilon)));
        for (int step = 0; step < steps; step++)
        {
            backend.Gemm(new GemmArguments { A = from, B = from, TransposeA = tall, TransposeB = !tall, C = a, Symmetric = true });
            backend.Gemm(new GemmArguments { A = a, B = a, C = terms, Residual = a, ResidualScale = (float)(Third / Math.Sqrt(Fifth)), Symmetric = true });
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
