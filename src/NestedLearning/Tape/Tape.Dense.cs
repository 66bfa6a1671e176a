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
        Dense.Gemm(new GemmArguments { A = x.Value, B = weight.Value, TransposeB = transposeWeight, C = y.Value, Bias = bias?.Value, Residual = residual?.Value });
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
        Dense.Gemm(new GemmArguments { A = x.Value, B = weightIn.Value, C = hidden, Bias = biasIn?.Value, Epilogue = Epilogue.Gelu, PreActivation = pre });
        Dense.Gemm(new GemmArguments { A = hidden, B = weightOut.Value, C = y.Value, Bias = biasOut?.Value, Residual = residual?.Value });
        if (needs)
        {
            Record(
                () =>
                {
                    Tensor dy = y.Gradient!;
                    ProductGradients(hidden, weightOut, biasOut, transposeWeight: false, dy);
                    using Tensor dPre = Device.Empty(hidden.Shape);
                    Dense.Gemm(new GemmArguments { A = dy, B = weightOut.Value, TransposeB = true, C = dPre, Epilogue = Epilogue.GeluGradient, PreActivation = pre });
                    PassGradient(y, residual);
                    LinearBackward(x, weightIn, biasIn, transposeWeight: false, dPre);
                },
                y);
        }

        return y;
    }

    /// <summary>y = norm(x) over the innermost axis; see <see cref="NormKind"/>.</summary>
    /// <exception cref="ArgumentException">The shapes do not fit.</exception>
    public Variable Norm(NormKind kind, Variable x, Variable? gain = null, Variable? bias = null, float epsilon = 1e-6f)
    {
        ArgumentNullException.ThrowIfNull(x);
        var y = new Variable(New(x.Shape), Needs(x, gain, bias));
        Dense.NormForward(kind, x.Value, gain?.Value, bias?.Value, epsilon, y.Value);
        if (y.NeedsGradient)
        {
            Record(
                () =>
                {
                    using WrittenGradient dx = Written(x);
                    Dense.NormBackward(kind, x.Value, gain?.Value, epsilon, y.Gradient!, dx.Place, Added(gain), Added(bias));
                },
                y);
        }

        return y;
    }

    /// <summary>
    /// Depthwise causal convolution of width 4 over x [B, T, D]. State [B, 3, D] holds the inputs before the first
    /// and nextState receives the last three; both are data without gradient.
    /// </summary>
    /// <exception cref="ArgumentException">The shapes do not fit.</exception>
    public Variable CausalConvolution(Variable x, Variable weight, Variable? bias = null, Tensor? state = null, Tensor? nextState = null)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(weight);
        if (Recording && state is not null && ReferenceEquals(state, nextState))
            throw new ArgumentException("The backward pass reads the state again; give another tensor for the next.", nameof(nextState));
        var y = new Variable(New(x.Shape), Needs(x, weight, bias));
        Dense.CausalConvolutionForward(x.Value, weight.Value, bias?.Value, state, y.Value, nextState);
        if (y.NeedsGradient)
        {
            Record(
                () =>
                {
                    using WrittenGradient dx = Written(x);
                    Dense.CausalConvolutionBackward(x.Value, weight.Value, state, y.Gradient!, dx.Place, Added(weight), Added(bias));
                },
                y);
        }

        return y;
    }

    /// <summary>y = f(x), element by element.</summary>
    public Variable Activate(Activation activation, Variable x)
    {
        ArgumentNullException.ThrowIfNull(x);
        var y = new Variable(New(x.Shape), Needs(x));
        Dense.ActivationForward(activation, x.Value, y.Value);
        if (y.NeedsGradient)
        {
            Record(
                () =>
                {
                    using WrittenGradient dx = Written(x);
                    if (dx.Place is not null)
                        Dense.ActivationBackward(activation, x.Value, y.Gradient!, dx.Place);
                },
                y);
        }

        return y;
    }

    /// <summary>z = x + y.</summary>
    /// <exception cref="ArgumentException">The shapes differ.</exception>
    public Variable Add(Variable x, Variable y)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(y);
        Require.SameShape(y.Value, x.Shape);
        var z = new Variable(New(x.Shape), Needs(x, y));
        z.Value.CopyFrom(x.Value);
        Dense.AddScaled(1, y.Value, z.Value);
        if (z.NeedsGradient)
        {
            Record(
                () =>
                {
                    AddGradient(x, z.Gradient!);
                    PassGradient(z, y);
                },
                z);
        }

        return z;
    }

    /// <summary>z = x ∘ y.</summary>
    /// <exception cref="ArgumentException">The shapes differ.</exception>
    public Variable Multiply(Variable x, Variable y)
    {
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(y);
        var z = new Variable(New(x.Shape), Needs(x, y));
        Dense.Multiply(x.Value, y.Value, z.Value);
        if (z.NeedsGradient)
        {
            Record(
                () =>
                {
                    // One after the other: when x is y, both halves go to the same place.
                    using (WrittenGradient dx = Written(x))
                    {
                        if (dx.Place is not null)
                            Dense.Multiply(z.Gradient!, y.Value, dx.Place);
                    }

                    using WrittenGradient dy = Written(y);
                    if (dy.Place is not null)
                        Dense.Multiply(z.Gradient!, x.Value, dy.Place);
                },
                z);
        }

        return z;
    }

    /// <summary>The same elements under another shape.</summary>
    /// <exception cref="ArgumentException">The numbers of elements differ.</exception>
    public Variable Reshape(Variable x, Shape shape)
    {
        ArgumentNullException.ThrowIfNull(x);
        var y = new Variable(Keep(x.Value.Reshape(shape)), Needs(x));
        if (y.NeedsGradient)
        {
            Record(
                () =>
                {
                    Tensor dy = y.Gradient!.Reshape(x.Shape);
                    if (x.Gradient is null)
                    {
                        // y's own is freed after this, and the memory stays x's.
                        x.Gradient = dy;
                        _gradients.Add(x);
                        return;
                    }

                    using (dy)
                        AddGradient(x, dy);
                },
                y);
        }

        return y;
    }

    /// <summary>Rows of a table [V, D] for tokens of shape [..]: the result is [.., D].</summary>
    /// <exception cref="ArgumentOutOfRangeException">A token is not a row of the table.</exception>
    public Variable Embedding(IndexTensor tokens, Variable table)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        ArgumentNullException.ThrowIfNull(table);
        Require.Rank(table.Value, 2, "[V, D]");
        var y = new Variable(New([.. tokens.Shape.AsSpan(), table.Shape[1]]), Needs(table));
        Dense.EmbeddingForward(tokens, table.Value, y.Value);
        if (y.NeedsGradient)
            Record(() => Dense.EmbeddingBackward(tokens, y.Gradient!, Added(table)!), y);
        return y;
    }

    /// <summary>The loss of each row in nats: logits [.., V], one target a row (−1: none), result of the targets' shape.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A target is neither a class nor −1.</exception>
    public Variable CrossEntropy(Variable logits, IndexTensor targets)
    {
        ArgumentNullException.ThrowIfNull(logits);
        ArgumentNullException.ThrowIfNull(targets);
        var losses = new Variable(New(targets.Shape), Needs(logits));
        Tensor logSums = New(targets.Shape);
        Dense.CrossEntropyForward(logits.Value, targets, losses.Value, logSums);
        if (losses.NeedsGradient)
        {
            Record(
                () =>
                {
                    using WrittenGradient dLogits = Written(logits);
                    Dense.CrossEntropyBackward(logits.Value, targets, logSums, losses.Gradient!, dLogits.Place!);
                },
                losses);
        }

        return losses;
    }

    private void LinearBackward(Variable x, Variable weight, Variable? bias, bool transposeWeight, Tensor dy)
    {
        ProductGradients(x.Value, weight, bias, transposeWeight, dy);
        if (Accumulated(x, out bool first) is { } dx)
            Dense.Gemm(new GemmArguments { A = dy, B = weight.Value, TransposeB = !transposeWeight, C = dx, Accumulate = !first });
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
            Dense.Gemm(transposeWeight
                ? new GemmArguments { A = dy, TransposeA = true, B = x, C = dw, Accumulate = !first }
                : new GemmArguments { A = x, TransposeA = true, B = dy, C = dw, Accumulate = !first });
        }

        if (Added(bias) is { } dbias)
            Dense.ColumnSum(dy, dbias);
    }

    // As AddGradient, but input's first contribution is output's gradient itself. Nothing may read that afterwards.
    private void PassGradient(Variable output, Variable? input)
    {
        Tensor gradient = output.Gradient!;
        if (input is { NeedsGradient: true, Gradient: null } && input.Shape == output.Shape)
        {
            output.Gradient = null;
            input.Gradient = gradient;
            _gradients.Add(input);
        }
        else
        {
            AddGradient(input, gradient);
        }
    }

    private void AddGradient(Variable? input, Tensor gradient)
    {
        Tensor? place = Accumulated(input, out bool first);
        if (first)
            place!.CopyFrom(gradient);
        else if (place is not null)
            Dense.AddScaled(1, gradient, place);
    }
}
