namespace NestedLearning.Operations;

/// <summary>Commits of the momentum family: elementwise memories of gradients. Arguments are checked before anything is written.</summary>
public static class MomentCommit
{
    /// <summary>One commit of an elementwise memory of gradients; see <see cref="MomentSettings"/> for its equations.</summary>
    /// <exception cref="ArgumentException">As for many tensors. Nothing was written.</exception>
    /// <exception cref="NotFiniteNumberException">As for many tensors. Nothing was written.</exception>
    public static void Apply(MomentTensors tensors, MomentSettings settings) => Apply([tensors], [settings], []);

    /// <summary>
    /// The same for each of many tensors in one call, which shares them out evenly among the threads whatever their sizes.
    /// </summary>
    /// <param name="tensors">What is committed, all on one device.</param>
    /// <param name="settings">One for each.</param>
    /// <param name="changes">One for each, written; or empty, when they are not wanted. What has no w has no change.</param>
    /// <exception cref="ArgumentException">
    /// A shape or device does not fit, there is nothing to write, a setting is not finite or out of its range, or a tensor
    /// would be written twice, or both written and read. Nothing was written.
    /// </exception>
    /// <exception cref="NotFiniteNumberException">
    /// A gradient, times its scale, is not finite or has a norm above 2⁵⁰, and its settings do not say
    /// <see cref="MomentSettings.GradientIsBounded"/>. Nothing was written.
    /// </exception>
    public static void Apply(ReadOnlySpan<MomentTensors> tensors, ReadOnlySpan<MomentSettings> settings, Span<CommitChange> changes)
    {
        Require.OneEach(tensors.Length, settings, changes);
        if (tensors.Length == 0)
            return;

        ArgumentNullException.ThrowIfNull(tensors[0].G, "g");
        Device device = tensors[0].G.Device;
        var written = new HashSet<TensorStorage>();
        for (int i = 0; i < tensors.Length; i++)
        {
            (Tensor? w, Tensor g, Tensor? m, Tensor? v, Tensor? start) = tensors[i];
            ArgumentNullException.ThrowIfNull(g);
            foreach ((Tensor? tensor, string name) in ((Tensor?, string)[])[(g, "g"), (w, "w"), (m, "m"), (v, "v"), (start, "start")])
            {
                Require.OnDevice(tensor, device, name);
                Require.OptionalShape(tensor, g.Shape, name);
            }

            if ((w ?? m ?? v) is null)
                throw new ArgumentException($"Tensor {i} has neither w nor m nor v, expected at least one.", nameof(tensors));
            Validate(settings[i], divides: w is not null && v is not null);
            foreach (Tensor? tensor in (ReadOnlySpan<Tensor?>)[w, m, v, settings[i].ClearGradient ? g : null])
            {
                if (tensor is not null && !written.Add(tensor.Storage))
                    throw new ArgumentException($"Tensor {i} shares memory with another of its own or of those before it.",
                        nameof(tensors));
            }
        }

        for (int i = 0; i < tensors.Length; i++)
        {
            if ((!settings[i].ClearGradient && written.Contains(tensors[i].G.Storage))
                || (tensors[i].Start is { } start && written.Contains(start.Storage)))
                throw new ArgumentException($"Tensor {i} reads what is written.", nameof(tensors));
        }

        using Held held = Held.Begin();
        foreach (MomentTensors each in tensors)
        {
            held.Add(each.W);
            held.Add(each.G);
            held.Add(each.M);
            held.Add(each.V);
            held.Add(each.Start);
        }

        Held.Publish();
        CommitBound.Require(tensors, settings);
        device.Backend.MomentCommit(tensors, settings, changes);
    }

    private static void Validate(in MomentSettings s, bool divides)
    {
        Require.Finite(s.LearningRate, "learning rate");
        Require.Finite(s.GradientScale, "gradient scale");
        Require.Finite(s.Keep1, "keep1");
        Require.Finite(s.Write1, "write1");
        Require.Finite(s.Keep2, "keep2");
        Require.Finite(s.Write2, "write2");
        Require.Finite(s.ReadMoment, "read moment");
        Require.Finite(s.ReadGradient, "read gradient");
        Require.Finite(s.Decay, "decay");
        if (divides)
            Require.Epsilon(s.Epsilon, "epsilon");
        else
            Require.InRange(s.Epsilon, 0, float.MaxValue, "epsilon");
    }
}
