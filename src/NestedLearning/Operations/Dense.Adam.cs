namespace NestedLearning;

public static partial class Dense
{
    /// <summary>One Adam or AdamW step: w, m, v in and out, g in; see <see cref="AdamSettings"/>.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit, or a setting is out of its range. Nothing was written.</exception>
    public static void AdamCommit(Tensor w, Tensor g, Tensor m, Tensor v, AdamSettings settings) =>
        AdamCommit([new AdamTensors(w, g, m, v)], [settings], []);

    /// <summary>
    /// The same step for many tensors in one call, which shares them out evenly among the threads whatever their sizes.
    /// With <see cref="MomentPrecision.BFloat16"/> tensor i takes the settings' seed + i.
    /// </summary>
    /// <exception cref="ArgumentException">A shape or device does not fit, or a setting is out of its range. Nothing was written.</exception>
    public static void AdamCommit(ReadOnlySpan<AdamTensors> tensors, AdamSettings settings)
    {
        var each = new AdamSettings[tensors.Length];
        for (int i = 0; i < each.Length; i++)
            each[i] = settings with { Seed = settings.Seed + (ulong)i };
        AdamCommit(tensors, each, []);
    }

    /// <summary>A step for each of many tensors in one call, each with settings of its own.</summary>
    /// <param name="tensors">What is committed, all on one device.</param>
    /// <param name="settings">One for each.</param>
    /// <param name="changes">One for each, written; or empty, when they are not wanted.</param>
    /// <exception cref="ArgumentException">
    /// A shape or device does not fit, a setting is out of its range, or a tensor would be written twice. Nothing was written.
    /// </exception>
    public static void AdamCommit(ReadOnlySpan<AdamTensors> tensors, ReadOnlySpan<AdamSettings> settings, Span<CommitChange> changes)
    {
        RequireOneEach(tensors.Length, settings, changes);
        if (tensors.Length == 0)
            return;

        ArgumentNullException.ThrowIfNull(tensors[0].W, "w");
        Device device = tensors[0].W.Device;
        var decayed = new AdamSettings[tensors.Length];
        var written = new HashSet<TensorStorage>();
        for (int i = 0; i < tensors.Length; i++)
        {
            (Tensor w, Tensor g, Tensor m, Tensor v, bool decays) = tensors[i];
            ArgumentNullException.ThrowIfNull(w);
            ArgumentNullException.ThrowIfNull(g);
            Require.OnDevice(w, device);
            Require.OnDevice(g, device);
            Require.SameShape(g, w.Shape);
            ValidateAdam(w, m, v, settings[i]);
            if (!(written.Add(w.Storage) && written.Add(m.Storage) && written.Add(v.Storage)) || (settings[i].ClearGradient && !written.Add(g.Storage)))
                throw new ArgumentException($"Tensor {i} shares memory with another of its own or of those before it.", nameof(tensors));
            decayed[i] = decays ? settings[i] : settings[i] with { WeightDecay = 0 };
        }

        device.Backend.AdamCommit(tensors, decayed, changes);
    }

    /// <summary>
    /// A weight's gradient and its commit in one: g = xᵀ dy, plus <paramref name="accumulated"/> where that is given,
    /// goes tile by tile through one step of Adam into w, m and v without being written. The settings' gradient scale
    /// is the caller's to choose before: a clip by the norm of this very gradient cannot be had, as its last tile is
    /// not known when the first is committed.
    /// </summary>
    /// <param name="x">[.., M]: what the weight multiplied, one row a token.</param>
    /// <param name="dy">[.., N]: the gradient of what came out.</param>
    /// <param name="accumulated">[M, N], or null: a gradient gathered before. It becomes 0 with <see cref="AdamSettings.ClearGradient"/>.</param>
    /// <param name="w">[M, N], in and out.</param>
    /// <param name="m">The first moment of w, in and out.</param>
    /// <param name="v">The second moment of w, in and out.</param>
    /// <param name="settings">The step; for bfloat16 moments the random numbers are those of <see cref="AdamCommit(Tensor, Tensor, Tensor, Tensor, AdamSettings)"/>.</param>
    /// <exception cref="ArgumentException">A shape or device does not fit, or a setting is out of its range. Nothing was written.</exception>
    public static void GemmAdamCommit(Tensor x, Tensor dy, Tensor? accumulated, Tensor w, Tensor m, Tensor v, AdamSettings settings)
    {
        Given(w, x);
        Given(w, dy);
        if (dy.Shape.Rows != x.Shape.Rows)
            throw new ArgumentException($"dy {dy.Shape} has {dy.Shape.Rows} rows, expected {x.Shape.Rows} as x {x.Shape} has.", nameof(dy));
        Require.SameShape(w, [x.Shape.Last, dy.Shape.Last]);
        Require.OptionalShape(accumulated, w.Shape);
        Require.OnDevice(accumulated, w.Device);
        ValidateAdam(w, m, v, settings);
        w.Device.Backend.GemmAdamCommit(x, dy, accumulated, w, m, v, settings);
    }

    private static void ValidateAdam(Tensor w, Tensor m, Tensor v, AdamSettings settings)
    {
        Given(w, m);
        Given(w, v);
        Shape moments = settings.Moments switch
        {
            MomentPrecision.Float32 => w.Shape,
            MomentPrecision.BFloat16 => [BFloat16.PackedCount(w.Count)],
            _ => throw new ArgumentOutOfRangeException(nameof(settings), settings.Moments, $"The moments are {settings.Moments}, expected float32 or bfloat16."),
        };
        Require.SameShape(m, moments);
        Require.SameShape(v, moments);
        ValidateAdam(settings);
    }

    /// <summary>That every setting is in its range.</summary>
    internal static void ValidateAdam(AdamSettings settings)
    {
        Require.Finite(settings.LearningRate, "learning rate");
        Require.Retention(settings.Beta1, "beta1");
        Require.Retention(settings.Beta2, "beta2");
        Require.InRange(settings.Epsilon, 0, float.MaxValue, "epsilon");
        Require.Finite(settings.WeightDecay, "weight decay");
        Require.Finite(settings.GradientScale, "gradient scale");
        if (settings.Step < 1)
            throw new ArgumentOutOfRangeException(nameof(settings), settings.Step, $"The step is {settings.Step}, expected at least 1.");
    }
}
