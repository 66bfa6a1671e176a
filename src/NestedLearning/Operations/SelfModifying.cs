namespace NestedLearning;

/// <summary>
/// Self-modifying memories (spec section 6, NL 83–93): keys, values, learning rates, decays and targets are all made
/// by memories that write themselves. See <see cref="SelfModifyingInputs"/> for the equations and shapes.
/// </summary>
public static class SelfModifying
{
    /// <summary>Runs the scan over whole sequences.</summary>
    /// <exception cref="ArgumentException">A shape, device or setting does not fit. Nothing was written.</exception>
    public static void Forward(in SelfModifyingInputs inputs, SelfModifyingSettings settings, in SelfModifyingOutputs outputs)
    {
        Validate(inputs, settings);
        Require.SameShape(outputs.O, inputs.X.Shape, "o");
        Require.SameShape(outputs.S, StateShape(inputs), "s");
        Require.OptionalShape(outputs.ChunkStart, StateShape(inputs), "chunk_start");
        Require.OptionalShape(outputs.ChunkStates, SavedShape(inputs, settings), "chunk states");
        Device device = inputs.X.Device;
        Require.OnDevice(outputs.O, device, "o");
        Require.OnDevice(outputs.S, device, "s");
        Require.OnDevice(outputs.ChunkStart, device, "chunk_start");
        Require.OnDevice(outputs.ChunkStates, device, "chunk states");
        device.Backend.SelfModifyingForward(inputs, settings, outputs);
    }

    /// <summary>The gradient of <see cref="Forward"/>, through every write.</summary>
    /// <exception cref="ArgumentException">A shape, device or setting does not fit. Nothing was written.</exception>
    public static void Backward(in SelfModifyingInputs inputs, SelfModifyingSettings settings, Tensor chunkStates, in SelfModifyingOutputGradients upstream, in SelfModifyingGradients gradients)
    {
        ArgumentNullException.ThrowIfNull(chunkStates);
        Validate(inputs, settings);
        Shape state = StateShape(inputs);
        Require.SameShape(chunkStates, SavedShape(inputs, settings), "chunk states");
        Require.SameShape(upstream.O, inputs.X.Shape, "do");
        Require.OptionalShape(upstream.S, state, "ds");
        Require.OptionalShape(upstream.ChunkStart, state, "dchunk_start");
        Require.OptionalShape(gradients.X, inputs.X.Shape, "dx");
        Require.OptionalShape(gradients.Q, inputs.Q.Shape, "dq");
        Require.OptionalShape(gradients.S0, state, "ds0");
        Require.OptionalShape(gradients.ChunkStart, state, "dchunk_start");
        if (gradients.ChunkStart is not null && inputs.ChunkStart is null)
            throw new ArgumentException("dchunk_start is asked for, but its input is not given.", nameof(gradients));
        Device device = inputs.X.Device;
        Require.OnDevice(chunkStates, device, "chunk states");
        Require.OnDevice(upstream.O, device, "do");
        Require.OnDevice(upstream.S, device, "ds");
        Require.OnDevice(upstream.ChunkStart, device, "dchunk_start");
        Require.OnDevice(gradients.X, device, "dx");
        Require.OnDevice(gradients.Q, device, "dq");
        Require.OnDevice(gradients.S0, device, "ds0");
        Require.OnDevice(gradients.ChunkStart, device, "dchunk_start");
        device.Backend.SelfModifyingBackward(inputs, settings, chunkStates, upstream, gradients);
    }

    /// <summary>The shape of the memories: [B, H, D, 3D + 2].</summary>
    public static Shape StateShape(in SelfModifyingInputs inputs) =>
        [inputs.Batch, inputs.Heads, inputs.Dim, SelfModifyingSettings.StateColumns(inputs.Dim)];

    /// <summary>The shape of the states saved for a backward pass: [B, H, chunks, D, 3D + 2].</summary>
    public static Shape SavedShape(in SelfModifyingInputs inputs, SelfModifyingSettings settings) =>
        [inputs.Batch, inputs.Heads, settings.Chunks(inputs.Time), inputs.Dim, SelfModifyingSettings.StateColumns(inputs.Dim)];

    private static void Validate(in SelfModifyingInputs inputs, SelfModifyingSettings settings)
    {
        Require.Finite(settings.EtaScale, "eta_scale");
        Require.Finite(settings.EtaBias, "eta_bias");
        Require.Finite(settings.AlphaBias, "alpha_bias");
        Require.Rank(inputs.X, 4, "[B, T, H, D]", "x");
        Require.SameShape(inputs.Q, inputs.X.Shape, "q");
        Require.SameShape(inputs.S0, StateShape(inputs), "s0");
        ChunkPlan.Validate(settings.Plan(inputs.Time), inputs.ChunkStart, StateShape(inputs).AsSpan());
        Require.OnDevice(inputs.Q, inputs.X.Device, "q");
        Require.OnDevice(inputs.S0, inputs.X.Device, "s0");
        Require.OnDevice(inputs.ChunkStart, inputs.X.Device, "chunk_start");
    }
}
