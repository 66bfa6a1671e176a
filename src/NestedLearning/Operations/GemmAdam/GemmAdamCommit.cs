namespace NestedLearning.Operations;

/// <summary>A weight's gradient and its commit of Adam in one product. Arguments are checked before anything is written.</summary>
public static class GemmAdamCommit
{
    /// <summary>
    /// A weight's gradient and its commit in one: g = xᵀ dy, plus <paramref name="accumulated"/> where that is given,
    /// goes tile by tile through one step of Adam into w, m and v without being written. The settings' gradient scale
    /// is the caller's to choose before: a clip by the norm of this very gradient cannot be had, as its last tile is
    /// not known when the first is committed.
    /// </summary>
    /// <param name="x">[.., M]: what the weight multiplied, one row a token.</param>
    /// <param name="dy">[.., N]: the gradient of what came out.</param>
    /// <param name="accumulated">[M, N], or null: a gradient gathered before. It becomes 0 with
    /// <see cref="AdamSettings.ClearGradient"/>.</param>
    /// <param name="w">[M, N], in and out.</param>
    /// <param name="m">The first moment of w, in and out.</param>
    /// <param name="v">The second moment of w, in and out.</param>
    /// <param name="settings">The step; for bfloat16 moments the random numbers are those of
    /// <see cref="AdamCommit.Apply(Tensor, Tensor, Tensor, Tensor, AdamSettings)"/>.</param>
    /// <exception cref="ArgumentException">A shape or device does not fit, or a setting is out of its range. Nothing was
    /// written.</exception>
    /// <exception cref="NotFiniteNumberException">As of <see cref="AdamCommit"/>. Nothing was written.</exception>
    public static void Apply(Tensor x, Tensor dy, Tensor? accumulated, Tensor w, Tensor m, Tensor v, AdamSettings settings)
    {
        Require.Given(w, x);
        Require.Given(w, dy);
        if (dy.Shape.Rows != x.Shape.Rows)
            throw new ArgumentException($"dy {dy.Shape} has {dy.Shape.Rows} rows, expected {x.Shape.Rows} as x {x.Shape} has.", nameof(dy));
        Require.SameShape(w, [x.Shape.Last, dy.Shape.Last]);
        Require.OptionalShape(accumulated, w.Shape);
        Require.OnDevice(accumulated, w.Device);
        AdamCommit.Validate(w, m, v, settings);
        using Held held = Held.All(x, dy, accumulated, w, m, v);
        if (!settings.GradientIsBounded)
            RequireBounded(x, dy, accumulated, settings.GradientScale);
        w.Device.Backend.GemmAdamCommit(x, dy, accumulated, w, m, v, settings);
    }

    // ‖xᵀ dy‖ is at most ‖x‖ ‖dy‖. Only where that is too much is the gradient made to be measured.
    private static void RequireBounded(Tensor x, Tensor dy, Tensor? accumulated, float scale)
    {
        double bound = GlobalNorm.Of(x) * GlobalNorm.Of(dy) + (accumulated is null ? 0 : GlobalNorm.Of(accumulated));
        if (bound * Math.Abs(scale) <= CommitBound.LargestNorm)
            return;
        using Tensor gradient = accumulated?.Clone() ?? x.Device.Zeros([x.Shape.Last, dy.Shape.Last]);
        Gemm.Multiply(new GemmArguments { A = x, TransposeA = true, B = dy, C = gradient, Accumulate = true });
        CommitBound.Require(GlobalNorm.Of(gradient) * Math.Abs(scale), CommitBound.LargestNorm, "The gradient of tensor 0");
    }
}
