namespace NestedLearning;

public sealed partial class Tape
{
    /// <summary>y = x W (+ bias) (+ residual), for x [.., K] and W [K, N], or W [N, K] used as its transpose.</summary>
    /// <exception cref="ArgumentException">The shapes do not fit.</exception>
    public Variable Linear(Variable x, Variable weight, Variable? bias = null, Variable? residual = null, bool transposeWeight = false)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(weight);
        Require.Rank(weight.Value, 2, "[K, N]");
        int n = transposeWeight ? weight.Shape[0] : weight.Shape[1];
        var y = new Variable(New(x.Shape.WithLast(n)), Needs(x, weight, bias, residual));
        Operations.Gemm.Multiply(new GemmArguments
        {
            A = x.Value, B = weight.Value, TransposeB = transposeWeight, C = y.Value, Bias = bias?.Value, Residual = residual?.Value,
        });
        if (y.NeedsGradient)
        {
            Record(
                () =>
                {
                    // The product for x reads y's gradient to the last, so x cannot take it over.
                    if (residual == x)
                        AddGradient(x, y.Gradient!);
                    LinearBackward(x, weight, bias, transposeWeight, y.Gradient!);
                    if (residual != x)
                        PassGradient(y, residual);
                },
                y);
        }

        return y;
    }

    /// <summary>
    /// A two-layer perceptron with its residual: y = residual + φ(x W_in + b_in) W_out + b_out, φ = GELU.
    /// x [.., D], W_in [D, N], b_in [N], W_out [N, D'], b_out [D'], residual [.., D'].
    /// </summary>
    /// <exception cref="ArgumentException">The shapes do not fit.</exception>
    public Variable Mlp(Variable x, Variable weightIn, Variable? biasIn, Variable weightOut, Variable? biasOut, Variable? residual)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(weightIn);
        ArgumentNullException.ThrowIfNull(weightOut);
        Require.Rank(weightIn.Value, 2, "[D, N]");
        Require.Rank(weightOut.Value, 2, "[N, D]");
        bool needs = Needs(x, weightIn, biasIn, weightOut, biasOut, residual);
        Tensor hidden = New(x.Shape.WithLast(weightIn.Shape[1]));
        Tensor? pre = needs ? New(hidden.Shape) : null;
        var y = new Variable(New(x.Shape.WithLast(weightOut.Shape[1])), needs);
        Operations.Gemm.Multiply(new GemmArguments
        {
            A = x.Value, B = weightIn.Value, C = hidden, Bias = biasIn?.Value, Epilogue = Epilogue.Gelu, PreActivation = pre,
        });
        Operations.Gemm.Multiply(new GemmArguments
        {
            A = hidden, B = weightOut.Value, C = y.Value, Bias = biasOut?.Value, Residual = residual?.Value,
        });
        if (needs)
        {
            Record(
                () =>
                {
                    Tensor dy = y.Gradient!;
                    ProductGradients(hidden, weightOut, biasOut, transposeWeight: false, dy);
                    using Tensor dPre = Device.Empty(hidden.Shape);
                    Operations.Gemm.Multiply(new GemmArguments
                    {
                        A = dy, B = weightOut.Value, TransposeB = true, C = dPre, Epilogue = Epilogue.GeluGradient, PreActivation = pre,
                    });
                    PassGradient(y, residual);
                    LinearBackward(x, weightIn, biasIn, transposeWeight: false, dPre);
                },
                y);
        }

        return y;
    }

    private void LinearBackward(Variable x, Variable weight, Variable? bias, bool transposeWeight, Tensor dy)
    {
        ProductGradients(x.Value, weight, bias, transposeWeight, dy);
        if (Accumulated(x, out bool first) is { } dx)
            Operations.Gemm.Multiply(new GemmArguments
            {
                A = dy, B = weight.Value, TransposeB = !transposeWeight, C = dx, Accumulate = !first,
            });
    }

    // dW += xᵀ dy, or x and dy themselves; dbias += Σ dy.
    private void ProductGradients(Tensor x, Variable weight, Variable? bias, bool transposeWeight, Tensor dy)
    {
        if (weight.Parameter?.Factors is { } factors && !transposeWeight)
        {
            factors.Add(x, dy);
        }
        else if (Accumulated(weight, out bool first) is { } dw)
        {
            Operations.Gemm.Multiply(transposeWeight
                ? new GemmArguments { A = dy, TransposeA = true, B = x, C = dw, Accumulate = !first }
                : new GemmArguments { A = x, TransposeA = true, B = dy, C = dw, Accumulate = !first });
        }

        if (Added(bias) is { } dbias)
            Operations.ColumnSum.Add(dy, dbias);
    }
}
