using System.Globalization;

namespace NestedLearning.Operations;

/// <summary>The recursive ridge memory. Arguments are checked before anything is written.</summary>
public static class Ridge
{
    /// <summary>
    /// Learns samples one after the other (docs/specification.md, section 8): with g = P x/(λ + xᵀ P x)
    /// <code>
    /// o ← x W     W ← W + g (y − x W)     P ← (P − g xᵀ P)/λ
    /// </code>
    /// so that W is the exact minimiser of Σ λ^{T−t} ‖x_t W − y_t‖² + λ^T δ ‖W‖². With λ = 1 nothing is forgotten, and neither the order of
    /// the samples nor how they are cut into calls matters, to the rounding of float64. P is held as factors that keep it
    /// symmetric and positive whatever the samples are; no element of d in P = Lᵀ diag(d) L grows beyond 2⁵⁰⁰, which λ below 1 would make
    /// of a direction that no sample has for 500 ln 2/ln(1/λ) steps.
    /// </summary>
    /// <param name="state">The memory, in and out.</param>
    /// <param name="x">[T, D]: keys.</param>
    /// <param name="y">[T, V]: what they are to be answered with.</param>
    /// <param name="forget">λ, above 0 and at most 1.</param>
    /// <param name="predictions">[T, V], written: what each key was answered with before it was learned; or null.</param>
    /// <exception cref="ArgumentException">A shape or device does not fit. Nothing was learned.</exception>
    /// <exception cref="ArgumentOutOfRangeException">λ is out of its range. Nothing was learned.</exception>
    /// <exception cref="NotFiniteNumberException">
    /// An element of x or y is not finite; nothing was learned. Or numbers grow beyond float64; the message says how many of the samples
    /// were learned, and the state is that after them.
    /// </exception>
    public static void Learn(RidgeState state, Tensor x, Tensor y, double forget = 1, Tensor? predictions = null)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(y);
        RequireForget(forget);
        RequireKeys(state, x);
        Require.Axes(y, [x.Shape[0], state.Outputs]);
        Require.OptionalShape(predictions, y.Shape);
        Require.OnDevice(y, state.Device);
        Require.OnDevice(predictions, state.Device);
        using Held held = Held.All(x, y, state.Factor, state.W, state.WLow, predictions);
        RequireFinite(x, nameof(x));
        RequireFinite(y, nameof(y));
        state.Device.Backend.Ridge(x, y, state.Factor, state.W, state.WLow, forget, predictions);
    }

    /// <summary>y ← x W, in float32: what keys are answered with.</summary>
    /// <param name="state">The memory.</param>
    /// <param name="x">[T, D]: keys.</param>
    /// <param name="y">[T, V].</param>
    /// <exception cref="ArgumentException">A shape or device does not fit.</exception>
    public static void Predict(RidgeState state, Tensor x, Tensor y)
    {
        ArgumentNullException.ThrowIfNull(state);
        ArgumentNullException.ThrowIfNull(x);
        ArgumentNullException.ThrowIfNull(y);
        RequireKeys(state, x);
        Require.Axes(y, [x.Shape[0], state.Outputs]);
        Gemm.Multiply(new GemmArguments { A = x, B = state.W, C = y });
    }

    internal static void RequireKeys(RidgeState state, Tensor x)
    {
        Require.Rank(x, 2, "[T, D]");
        Require.Axes(x, [x.Shape[0], state.Features]);
        Require.OnDevice(x, state.Device);
    }

    internal static void RequireForget(double forget)
    {
        if (!(forget <= 1 && forget > 0 && float.IsNormal((float)forget)))
            throw new ArgumentOutOfRangeException(nameof(forget), forget,
                Readable.Text($"forget is {forget}, expected a number above 0, not subnormal in float32, and at most 1."));
    }

    // The sum is over numbers of float32 in float64, so that it is finite exactly if they are; a device may sum in another way, so
    // they are looked at one by one before anybody is told that they are not.
    internal static void RequireFinite(Tensor tensor, string name)
    {
        if (tensor.Count == 0 || double.IsFinite(tensor.Device.Backend.SumOfSquares(tensor)))
            return;
        float[] elements = tensor.ToArray();
        int at = Array.FindIndex(elements, e => !float.IsFinite(e));
        if (at < 0)
            return;
        (int row, int column) = Math.DivRem(at, tensor.Shape[1]);
        string value = elements[at].ToString(CultureInfo.InvariantCulture);
        throw new NotFiniteNumberException(
            $"{name} has {value} at [{row}, {column}], expected finite numbers. Nothing was learned.", elements[at]);
    }
}
