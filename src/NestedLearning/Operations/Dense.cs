using System.Runtime.CompilerServices;

namespace NestedLearning;

/// <summary>
/// The operations around the memories, with their arguments checked. Write modes as in <see cref="Backend"/>:
/// activation gradients are written, parameter gradients added to.
/// </summary>
public static partial class Dense
{
    /// <summary>C = epilogue(op(A) op(B) + bias) + residual; see <see cref="GemmArguments"/>.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit, or settings exclude each other. Nothing was written.</exception>
    public static void Gemm(in GemmArguments arguments)
    {
        int m = arguments.M, n = arguments.N, k = arguments.K;
        int otherK = arguments.TransposeB ? arguments.B.Shape.Last : arguments.B.Shape.Rows;
        if (otherK != k)
            throw new ArgumentException($"The inner lengths differ: a {arguments.A.Shape} gives {k}, b {arguments.B.Shape} gives {otherK}.", nameof(arguments));
        if (arguments.C.Shape.Rows != m || arguments.C.Shape.Last != n)
            throw new ArgumentException($"c has shape {arguments.C.Shape}, expected {m} rows of {n}.", nameof(arguments));
        Require.OptionalShape(arguments.Bias, [n], "bias");
        RequireCount(arguments.PreActivation, m * n, "pre-activation");
        RequireCount(arguments.Residual, m * n, "residual");
        if (arguments.Accumulate && arguments.Residual is not null)
            throw new ArgumentException("A product is either accumulated or has a residual, not both.", nameof(arguments));
        Require.Finite(arguments.ResidualScale, "residual scale");
        if (arguments.Symmetric && (m != n || arguments.Bias is not null || arguments.Epilogue != Epilogue.None))
            throw new ArgumentException($"A symmetric product has as many rows as columns, no bias and no epilogue; c has shape {arguments.C.Shape}.", nameof(arguments));
        if (arguments.Epilogue == Epilogue.GeluGradient && arguments.PreActivation is null)
            throw new ArgumentException("The GELU gradient needs the pre-activation.", nameof(arguments));
        Device device = arguments.C.Device;
        Require.OnDevice(device, (arguments.A, "a"), (arguments.B, "b"), (arguments.Bias, "bias"),
            (arguments.PreActivation, "pre-activation"), (arguments.Residual, "residual"));
        device.Backend.Gemm(arguments);
    }

    /// <summary>sums [N] += Σ over rows of x [M, N].</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    public static void ColumnSum(Tensor x, Tensor sums)
    {
        Given(x, sums);
        Require.SameShape(sums, [x.Shape.Last]);
        x.Device.Backend.ColumnSum(x, sums);
    }

    /// <summary>y = norm(x) over the innermost axis D; gain and bias [D] or null; see <see cref="NormKind"/>.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit, or a gain or bias is given to the L2 norm.</exception>
    public static void NormForward(NormKind kind, Tensor x, Tensor? gain, Tensor? bias, float epsilon, Tensor y)
    {
        Given(x, y);
        ValidateNorm(kind, x, gain, bias, epsilon);
        Require.SameShape(y, x.Shape);
        x.Device.Backend.NormForward(kind, x, gain, bias, epsilon, y);
    }

    /// <summary>dx = the gradient of <see cref="NormForward"/>; dGain, dBias += theirs. Nulls are not wanted.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit, or a gain or bias is given to the L2 norm.</exception>
    public static void NormBackward(NormKind kind, Tensor x, Tensor? gain, float epsilon, Tensor dy, Tensor? dx, Tensor? dGain, Tensor? dBias)
    {
        Given(x, dy);
        ValidateNorm(kind, x, gain, dBias, epsilon);
        Require.SameShape(dy, x.Shape);
        Require.OptionalShape(dx, x.Shape);
        Require.OptionalShape(dGain, [x.Shape.Last]);
        if (dGain is not null && gain is null)
            throw new ArgumentException("dGain is asked for, but there is no gain.", nameof(dGain));
        Require.OnDevice(dx, x.Device);
        Require.OnDevice(dGain, x.Device);
        x.Device.Backend.NormBackward(kind, x, gain, epsilon, dy, dx, dGain, dBias);
    }

    /// <summary>Depthwise causal convolution of width 4 over x [B, T, D]; see <see cref="Backend.CausalConvolutionForward"/>.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    public static void CausalConvolutionForward(Tensor x, Tensor weight, Tensor? bias, Tensor? state, Tensor y, Tensor? nextState)
    {
        Given(x, y);
        ValidateConvolution(x, weight, bias, state);
        Require.SameShape(y, x.Shape);
        Require.OptionalShape(nextState, [x.Shape[0], ConvolutionWidth - 1, x.Shape[2]]);
        Require.OnDevice(nextState, x.Device);
        x.Device.Backend.CausalConvolutionForward(x, weight, bias, state, y, nextState);
    }

    /// <summary>dx = the gradient of <see cref="CausalConvolutionForward"/>; dWeight, dBias += theirs. Nulls are not wanted.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    public static void CausalConvolutionBackward(Tensor x, Tensor weight, Tensor? state, Tensor dy, Tensor? dx, Tensor? dWeight, Tensor? dBias)
    {
        Given(x, dy);
        ValidateConvolution(x, weight, dBias, state);
        Require.SameShape(dy, x.Shape);
        Require.OptionalShape(dx, x.Shape);
        Require.OptionalShape(dWeight, weight.Shape);
        Require.OnDevice(dx, x.Device);
        Require.OnDevice(dWeight, x.Device);
        x.Device.Backend.CausalConvolutionBackward(x, weight, state, dy, dx, dWeight, dBias);
    }

    /// <summary>The number of taps of the causal convolution.</summary>
    public const int ConvolutionWidth = 4;

    /// <summary>y = f(x); y may be x.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    public static void ActivationForward(Activation activation, Tensor x, Tensor y)
    {
        Given(x, y);
        Require.SameShape(y, x.Shape);
        x.Device.Backend.ActivationForward(activation, x, y);
    }

    /// <summary>dx = dy ∘ f'(x); dx may be dy.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    public static void ActivationBackward(Activation activation, Tensor x, Tensor dy, Tensor dx)
    {
        Given(x, dy);
        Given(x, dx);
        Require.SameShape(dy, x.Shape);
        Require.SameShape(dx, x.Shape);
        x.Device.Backend.ActivationBackward(activation, x, dy, dx);
    }

    /// <summary>y += factor · x.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    public static void AddScaled(float factor, Tensor x, Tensor y)
    {
        Given(x, y);
        Require.SameShape(y, x.Shape);
        x.Device.Backend.AddScaled(factor, x, y);
    }

    /// <summary>z = x ∘ y; z may be either.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    public static void Multiply(Tensor x, Tensor y, Tensor z)
    {
        Given(x, y);
        Given(x, z);
        Require.SameShape(y, x.Shape);
        Require.SameShape(z, x.Shape);
        x.Device.Backend.Multiply(x, y, z);
    }

    /// <summary>
    /// Rotary position embedding (Su et al., arXiv 2104.09864) of x [B, T, H, D], with h = ⌊D/2⌋ and angle a_i of the token:
    /// y_i = x_i cos a_i − x_{i+h} sin a_i and y_{i+h} = x_{i+h} cos a_i + x_i sin a_i; an odd last element stays. y may be x.
    /// </summary>
    /// <param name="x">What is turned.</param>
    /// <param name="table">[T, 2 h]: the cosines of a token's angles, then their sines.</param>
    /// <param name="back">Turns by the negative angles: the inverse, and the gradient.</param>
    /// <param name="y">[B, T, H, D].</param>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    public static void Rotate(Tensor x, Tensor table, bool back, Tensor y)
    {
        Given(x, table);
        Given(x, y);
        Require.Rank(x, 4, "[B, T, H, D]");
        Require.Axes(table, [x.Shape[1], x.Shape[3] / 2 * 2]);
        Require.SameShape(y, x.Shape);
        x.Device.Backend.Rotate(x, table, back, y);
    }

    /// <summary>y [.., D] = rows of table [V, D] chosen by tokens.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token is not a row of the table.</exception>
    public static void EmbeddingForward(IndexTensor tokens, Tensor table, Tensor y)
    {
        Given(table, y);
        ValidateEmbedding(tokens, table, y);
        table.Device.Backend.EmbeddingForward(tokens, table, y);
    }

    /// <summary>dTable [V, D] += the rows of dy, each to its token's.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A token is not a row of the table.</exception>
    public static void EmbeddingBackward(IndexTensor tokens, Tensor dy, Tensor dTable)
    {
        Given(dTable, dy);
        ValidateEmbedding(tokens, dTable, dy);
        dTable.Device.Backend.EmbeddingBackward(tokens, dy, dTable);
    }

    /// <summary>losses [N] = −log softmax(logits [N, V])[target] in nats, 0 where the target is −1; logSums [N] as the backward pass takes it.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is neither a class nor −1.</exception>
    public static void CrossEntropyForward(Tensor logits, IndexTensor targets, Tensor losses, Tensor logSums)
    {
        Given(logits, losses);
        Given(logits, logSums);
        ValidateCrossEntropy(logits, targets, losses, logSums);
        logits.Device.Backend.CrossEntropyForward(logits, targets, losses, logSums);
    }

    /// <summary>dLogits = (softmax(logits[n]) − onehot) dLosses[n]; dLogits may be logits.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is neither a class nor −1.</exception>
    public static void CrossEntropyBackward(Tensor logits, IndexTensor targets, Tensor logSums, Tensor dLosses, Tensor dLogits)
    {
        Given(logits, dLogits);
        Given(logits, dLosses);
        Given(logits, logSums);
        ValidateCrossEntropy(logits, targets, dLosses, logSums);
        Require.SameShape(dLogits, logits.Shape);
        logits.Device.Backend.CrossEntropyBackward(logits, targets, logSums, dLosses, dLogits);
    }

    /// <summary>
    /// losses [N] as <see cref="CrossEntropyForward"/> and dLogits = gradientScale (softmax(logits[n]) − onehot), 0 where the
    /// target is −1, reading the logits once. dLogits may be logits.
    /// </summary>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    /// <exception cref="ArgumentOutOfRangeException">A target is neither a class nor −1, or the scale is not finite.</exception>
    public static void CrossEntropyWithGradient(Tensor logits, IndexTensor targets, float gradientScale, Tensor losses, Tensor dLogits)
    {
        Given(logits, losses);
        Given(logits, dLogits);
        Require.Finite(gradientScale);
        ValidateCrossEntropy(logits, targets, losses, losses);
        Require.SameShape(dLogits, logits.Shape);
        logits.Device.Backend.CrossEntropyWithGradient(logits, targets, gradientScale, losses, dLogits);
    }

    /// <summary>√Σ‖xᵢ‖² over tensors, accumulated in double. A GPU is waited for once, however many they are.</summary>
    public static double GlobalNorm(params ReadOnlySpan<Tensor> tensors) => Math.Sqrt(SquaredNorm(tensors));

    /// <summary>
    /// Scales tensors so that their global norm is at most <paramref name="limit"/>, and returns the norm from before.
    /// A norm that is not finite scales nothing.
    /// </summary>
    /// <exception cref="ArgumentOutOfRangeException">The limit is not above 0.</exception>
    public static double ClipGlobalNorm(double limit, params ReadOnlySpan<Tensor> tensors)
    {
        if (!(limit > 0))
            throw new ArgumentOutOfRangeException(nameof(limit), limit, $"The limit is {limit}, expected above 0.");
        double norm = GlobalNorm(tensors);
        if (double.IsFinite(norm) && norm > limit)
        {
            foreach (Tensor tensor in tensors)
                tensor.Device.Backend.Scale(tensor, (float)(limit / norm));
        }

        return norm;
    }

    /// <summary>Σ‖xᵢ‖² over tensors, each in double and their sums in order.</summary>
    internal static double SquaredNorm(ReadOnlySpan<Tensor> tensors)
    {
        double[] squares = new double[tensors.Length];
        // Tensors that follow each other and are on one device go there together.
        for (int first = 0, end; first < tensors.Length; first = end)
        {
            Device device = tensors[first].Device;
            end = first + 1;
            while (end < tensors.Length && tensors[end].Device == device)
                end++;
            device.Backend.SumsOfSquares(tensors[first..end], squares.AsSpan(first..end));
        }

        double sum = 0;
        foreach (double square in squares)
            sum += square;
        return sum;
    }

    private static void Given(Tensor first, Tensor second)
    {
        ArgumentNullException.ThrowIfNull(first);
        ArgumentNullException.ThrowIfNull(second);
        Require.OnDevice(second, first.Device);
    }

    private static void RequireCount(Tensor? tensor, int count, string name)
    {
        if (tensor is not null && tensor.Count != count)
            throw new ArgumentException($"{name} has shape {tensor.Shape}, expected {count} elements.", name);
    }

    private static void RequireOneEach<TSettings>(int tensors, ReadOnlySpan<TSettings> settings, Span<CommitChange> changes)
    {
        if (settings.Length != tensors)
            throw new ArgumentException($"There are {settings.Length} settings, expected one for each of {tensors} tensors.", nameof(settings));
        if (changes.Length != 0 && changes.Length != tensors)
            throw new ArgumentException($"There is room for {changes.Length} changes, expected none or {tensors}.", nameof(changes));
    }

    private static void ValidateNorm(NormKind kind, Tensor x, Tensor? gain, Tensor? bias, float epsilon)
    {
        Require.InRange(epsilon, 0, float.MaxValue);
        Require.OptionalShape(gain, [x.Shape.Last]);
        Require.OptionalShape(bias, [x.Shape.Last]);
        Require.OnDevice(gain, x.Device);
        Require.OnDevice(bias, x.Device);
        if (kind == NormKind.L2 && (gain ?? bias) is not null)
            throw new ArgumentException("The L2 norm has neither gain nor bias.", gain is null ? nameof(bias) : nameof(gain));
        if (kind == NormKind.Rms && bias is not null)
            throw new ArgumentException("The RMS norm has no bias.", nameof(bias));
    }

    private static void ValidateConvolution(Tensor x, Tensor weight, Tensor? bias, Tensor? state)
    {
        Require.Rank(x, 3, "[B, T, D]");
        ArgumentNullException.ThrowIfNull(weight);
        Require.SameShape(weight, [x.Shape[2], ConvolutionWidth]);
        Require.OptionalShape(bias, [x.Shape[2]]);
        Require.OptionalShape(state, [x.Shape[0], ConvolutionWidth - 1, x.Shape[2]]);
        Require.OnDevice(weight, x.Device);
        Require.OnDevice(bias, x.Device);
        Require.OnDevice(state, x.Device);
    }

    private static void ValidateEmbedding(IndexTensor tokens, Tensor table, Tensor rows)
    {
        ArgumentNullException.ThrowIfNull(tokens);
        Require.Rank(table, 2, "[V, D]");
        if (rows.Shape.Last != table.Shape[1] || rows.Shape.Rows != tokens.Count)
            throw new ArgumentException($"The rows have shape {rows.Shape}, expected {tokens.Count} rows of {table.Shape[1]}.", nameof(rows));
        RequireIndices(tokens, 0, table.Shape[0], "token");
    }

    private static void ValidateCrossEntropy(Tensor logits, IndexTensor targets, Tensor losses, Tensor logSums)
    {
        ArgumentNullException.ThrowIfNull(targets);
        Require.Positive(logits.Shape.Last, "classes");
        RequireTargets(targets, logits.Shape.Rows, logits.Shape.Last);
        RequireCount(losses, targets.Count, "losses");
        RequireCount(logSums, targets.Count, "logSums");
    }

    /// <summary>One target for each row, each a class or −1.</summary>
    internal static void RequireTargets(IndexTensor targets, int rows, int classes)
    {
        if (targets.Count != rows)
            throw new ArgumentException($"There are {targets.Count} targets, expected {rows}.", nameof(targets));
        RequireIndices(targets, -1, classes, "target");
    }

    /// <summary>One element for each row, on the device.</summary>
    internal static void RequireRows(Tensor tensor, int rows, Device device, [CallerArgumentExpression(nameof(tensor))] string? name = null)
    {
        ArgumentNullException.ThrowIfNull(tensor, name);
        Require.OnDevice(tensor, device, name);
        RequireCount(tensor, rows, name!);
    }

    private static void RequireIndices(IndexTensor indices, int low, int high, string what)
    {
        int outside = indices.Minimum < low ? indices.Minimum : indices.Maximum;
        if (indices.Count > 0 && (outside < low || outside >= high))
            throw new ArgumentOutOfRangeException(what, outside, $"A {what} is {outside}, expected {low} to {high - 1}.");
    }
}
