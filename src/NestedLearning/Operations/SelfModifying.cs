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
        Require.OptionalShape(outputs.ChunkStates, SavedShape(inputs, settings), "chunk states");
        Device device = inputs.X.Device;
        Require.OnDevice(outputs.O, device, "o");
        Require.OnDevice(outputs.S, device, "s");
        Require.OnDevice(outputs.ChunkStates, device, "chunk states");
        device.Backend.SelfModifyingForward(inputs, settings, outputs);
    }

    /// <summary>The gradient of <see cref="Forward"/>, through every write.</summary>
    /// <exception cref="ArgumentException">A shape, device or setting does not fit. Nothing was written.</exception>
    public static void Backward(in SelfModifyingInputs inputs, SelfModifyingSettings settings, Tensor chunkStates, Tensor dOutput, Tensor? dState, in SelfModifyingGradients gradients)
    {
        ArgumentNullException.ThrowIfNull(chunkStates);
        ArgumentNullException.ThrowIfNull(dOutput);
        Validate(inputs, settings);
        Shape state = StateShape(inputs);
        Require.SameShape(chunkStates, SavedShape(inputs, settings), "chunk states");
        Require.SameShape(dOutput, inputs.X.Shape, "do");
        Require.OptionalShape(dState, state, "ds");
        Require.OptionalShape(gradients.X, inputs.X.Shape, "dx");
        Require.OptionalShape(gradients.Q, inputs.Q.Shape, "dq");
        Require.OptionalShape(gradients.S0, state, "ds0");
        Device device = inputs.X.Device;
        Require.OnDevice(chunkStates, device, "chunk states");
        Require.OnDevice(dOutput, device, "do");
        Require.OnDevice(dState, device, "ds");
        Require.OnDevice(gradients.X, device, "dx");
        Require.OnDevice(gradients.Q, device, "dq");
        Require.OnDevice(gradients.S0, device, "ds0");
        device.Backend.SelfModifyingBackward(inputs, settings, chunkStates, dOutput, dState, gradients);
    }

    /// <summary>The shape of the memories: [B, H, D, 3D + 2].</summary>
    public static Shape StateShape(in SelfModifyingInputs inputs) =>
        [inputs.Batch, inputs.Heads, inputs.Dim, SelfModifyingSettings.StateColumns(inputs.Dim)];

    /// <summary>The shape of the states saved for a backward pass: [B, H, chunks, D, 3D + 2].</summary>
    public static Shape SavedShape(in SelfModifyingInputs inputs, SelfModifyingSettings settings) =>
        [inputs.Batch, inputs.Heads, settings.Chunks(inputs.Time), inputs.Dim, SelfModifyingSettings.StateColumns(inputs.Dim)];

    private static void Validate(in SelfModifyingInputs inputs, SelfModifyingSettings settings)
    {
        if (settings.Chunk is < 1 or > ScanSettings.MaxChunk)
            throw new ArgumentOutOfRangeException(nameof(settings), settings.Chunk, $"The chunk is {settings.Chunk} tokens, expected 1 to {ScanSettings.MaxChunk}.");
        Require.Finite(settings.EtaScale, "eta_scale");
        Require.Finite(settings.EtaBias, "eta_bias");
        Require.Finite(settings.AlphaBias, "alpha_bias");
        Require.Rank(inputs.X, 4, "[B, T, H, D]", "x");
        Require.SameShape(inputs.Q, inputs.X.Shape, "q");
        Require.SameShape(inputs.S0, StateShape(inputs), "s0");
        Require.OnDevice(inputs.Q, inputs.X.Device, "q");
        Require.OnDevice(inputs.S0, inputs.X.Device, "s0");
    }
}
