namespace NestedLearning.Operations;

/// <summary>Matrix products with their epilogues, one at a time and in batches. Arguments are checked before anything is written.</summary>
public static class Gemm
{
    /// <summary>C = epilogue(op(A) op(B) + bias) + residual; see <see cref="GemmArguments"/>.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit, or settings exclude each other. Nothing was written.</exception>
    public static void Multiply(in GemmArguments arguments)
    {
        int m = arguments.M, n = arguments.N, k = arguments.K;
        int otherK = arguments.TransposeB ? arguments.B.Shape.Last : arguments.B.Shape.Rows;
        if (otherK != k)
            throw new ArgumentException($"The inner lengths differ: a {arguments.A.Shape} gives {k}, b {arguments.B.Shape} gives {otherK}.",
                nameof(arguments));
        if (arguments.C.Shape.Rows != m || arguments.C.Shape.Last != n)
            throw new ArgumentException($"c has shape {arguments.C.Shape}, expected {m} rows of {n}.", nameof(arguments));
        Require.OptionalShape(arguments.Bias, [n], "bias");
        Require.Count(arguments.PreActivation, m * n, "pre-activation");
        Require.Count(arguments.Residual, m * n, "residual");
        if (arguments.Accumulate && arguments.Residual is not null)
            throw new ArgumentException("A product is either accumulated or has a residual, not both.", nameof(arguments));
        Require.Finite(arguments.ResidualScale, "residual scale");
        if (arguments.Symmetric && (m != n || arguments.Bias is not null || arguments.Epilogue != Epilogue.None))
            throw new ArgumentException("A symmetric product has as many rows as columns, no bias and no epilogue; c has shape " +
                $"{arguments.C.Shape}.", nameof(arguments));
        if (arguments.Epilogue == Epilogue.GeluGradient && arguments.PreActivation is null)
            throw new ArgumentException("The GELU gradient needs the pre-activation.", nameof(arguments));
        Device device = arguments.C.Device;
        Require.OnDevice(device, (arguments.A, "a"), (arguments.B, "b"), (arguments.Bias, "bias"),
            (arguments.PreActivation, "pre-activation"), (arguments.Residual, "residual"));
        using Held held = Held.All(arguments.A, arguments.B, arguments.C, arguments.Bias, arguments.PreActivation, arguments.Residual);
        device.Backend.Gemm(arguments);
    }

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
    public static void MultiplyBatch(Tensor a, Tensor b, Tensor c, bool transposeA = false, bool transposeB = false,
        bool accumulate = false)
    {
        Require.Given(c, a);
        Require.Given(c, b);
        if (c.Shape.Rank < 2)
            throw new ArgumentException($"c has shape {c.Shape}, expected [.., M, P].", nameof(c));
        if (a.Shape.Rank < 2)
            throw new ArgumentException($"a has shape {a.Shape}, expected [.., M, K].", nameof(a));
        int m = c.Shape[^2], n = c.Shape[^1], k = a.Shape[transposeA ? ^2 : ^1];
        ReadOnlySpan<int> batch = c.Shape.AsSpan()[..^2];
        Require.SameShape(a, transposeA ? [.. batch, k, m] : [.. batch, m, k]);
        Require.SameShape(b, transposeB ? [.. batch, n, k] : [.. batch, k, n]);
        using Held held = Held.All(a, b, c);
        c.Device.Backend.BatchedGemm(a, b, c, transposeA, transposeB, accumulate);
    }
}
