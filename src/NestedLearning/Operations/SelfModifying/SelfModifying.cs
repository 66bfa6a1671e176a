namespace NestedLearning.Operations;

/// <summary>
/// Self-modifying memories (docs/specification.md, section 6, NL 83–93): keys, values, learning rates, decays and targets are all made
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
        Require.OnDevice(device, (outputs.O, "o"), (outputs.S, "s"), (outputs.ChunkStart, "chunk_start"), (outputs.ChunkStates, "chunk states"));
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
        Require.Like(gradients.X, inputs.X, "dx");
        Require.Like(gradients.Q, inputs.Q, "dq");
        Require.Like(gradients.S0, inputs.S0, "ds0");
        Require.Like(gradients.ChunkStart, inputs.ChunkStart, "dchunk_start");
        Device device = inputs.X.Device;
        Require.OnDevice(device, (chunkStates, "chunk states"), (upstream.O, "do"), (upstream.S, "ds"), (upstream.ChunkStart, "dchunk_start"),
            (gradients.X, "dx"), (gradients.Q, "dq"), (gradients.S0, "ds0"), (gradients.ChunkStart, "dchunk_start"));
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
        Require.OnDevice(inputs.X.Device, (inputs.Q, "q"), (inputs.S0, "s0"), (inputs.ChunkStart, "chunk_start"));
    }
}
