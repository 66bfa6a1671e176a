namespace NestedLearning.Operations;

/// <summary>Commits of Adam and AdamW over many tensors in one call. Arguments are checked before anything is written.</summary>
public static class AdamCommit
{
    /// <summary>One Adam or AdamW step: w, m, v in and out, g in; see <see cref="AdamSettings"/>.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit, or a setting is out of its range. Nothing was
    /// written.</exception>
    /// <exception cref="NotFiniteNumberException">As for tensors with settings of their own. Nothing was written.</exception>
    public static void Apply(Tensor w, Tensor g, Tensor m, Tensor v, AdamSettings settings) =>
        Apply([new AdamTensors(w, g, m, v)], [settings], []);

    /// <summary>
    /// The same step for many tensors in one call, which shares them out evenly among the threads whatever their sizes.
    /// With <see cref="MomentPrecision.BFloat16"/> tensor i takes the settings' seed + i.
    /// </summary>
    /// <exception cref="ArgumentException">A shape or device does not fit, or a setting is out of its range. Nothing was
    /// written.</exception>
    /// <exception cref="NotFiniteNumberException">As for tensors with settings of their own. Nothing was written.</exception>
    public static void Apply(ReadOnlySpan<AdamTensors> tensors, AdamSettings settings)
    {
        var each = new AdamSettings[tensors.Length];
        for (int i = 0; i < each.Length; i++)
            each[i] = settings with { Seed = settings.Seed + (ulong)i };
        Apply(tensors, each, []);
    }

    /// <summary>A step for each of many tensors in one call, each with settings of its own.</summary>
    /// <param name="tensors">What is committed, all on one device.</param>
    /// <param name="settings">One for each.</param>
    /// <param name="changes">One for each, written; or empty, when they are not wanted.</param>
    /// <exception cref="ArgumentException">
    /// A shape or device does not fit, a setting is out of its range, or a tensor would be written twice. Nothing was written.
    /// </exception>
    /// <exception cref="NotFiniteNumberException">
    /// A gradient, times its scale, is not finite or has a norm above 2⁵⁰, and its settings do not say
    /// <see cref="AdamSettings.GradientIsBounded"/>. Nothing was written.
    /// </exception>
    public static void Apply(ReadOnlySpan<AdamTensors> tensors, ReadOnlySpan<AdamSettings> settings, Span<CommitChange> changes)
    {
        Require.OneEach(tensors.Length, settings, changes);
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
            Validate(w, m, v, settings[i]);
            if (!(written.Add(w.Storage) && written.Add(m.Storage) && written.Add(v.Storage))
                || (settings[i].ClearGradient && !written.Add(g.Storage)))
                throw new ArgumentException($"Tensor {i} shares memory with another of its own or of those before it.", nameof(tensors));
            decayed[i] = decays ? settings[i] : settings[i] with { WeightDecay = 0 };
        }

        using Held held = Held.Begin();
        foreach (AdamTensors each in tensors)
        {
            held.Add(each.W);
            held.Add(each.G);
            held.Add(each.M);
            held.Add(each.V);
        }

        Held.Publish();
        CommitBound.Require(tensors, settings);
        device.Backend.AdamCommit(tensors, decayed, changes);
    }

    internal static void Validate(Tensor w, Tensor m, Tensor v, AdamSettings settings)
    {
        Require.Given(w, m);
        Require.Given(w, v);
        Shape moments = settings.Moments switch
        {
            MomentPrecision.Float32 => w.Shape,
            MomentPrecision.BFloat16 => [BFloat16.PackedCount(w.Count)],
            _ => throw new ArgumentOutOfRangeException(nameof(settings), settings.Moments,
                $"The moments are {settings.Moments}, expected float32 or bfloat16."),
        };
        Require.SameShape(m, moments);
        Require.SameShape(v, moments);
        Validate(settings);
    }

    /// <summary>That every setting is in its range.</summary>
    internal static void Validate(AdamSettings settings)
    {
        Require.Finite(settings.LearningRate, "learning rate");
        Require.Retention(settings.Beta1, "beta1");
        Require.Retention(settings.Beta2, "beta2");
        Require.Epsilon(settings.Epsilon, "epsilon");
        Require.Finite(settings.WeightDecay, "weight decay");
        Require.Finite(settings.GradientScale, "gradient scale");
        if (settings.Step < 1)
            throw new ArgumentOutOfRangeException(nameof(settings), settings.Step, $"The step is {settings.Step}, expected at least 1.");
    }
}
