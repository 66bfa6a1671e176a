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
        using Held held = Held.Begin();
        OperationCall call = SelfModifyingTensors.Validate(inputs, settings, held.Uses);
        SelfModifyingTensors.Outputs.Validate(outputs, ref call);
        if (outputs.ChunkStates is not null)
            SelfModifyingTensors.Saved.Validate(outputs.ChunkStates, ref call);
        Held.Publish();
        inputs.X.Device.Backend.SelfModifyingForward(inputs, settings, outputs);
    }

    /// <summary>The gradient of <see cref="Forward"/>, through every write.</summary>
    /// <exception cref="ArgumentException">A shape, device or setting does not fit. Nothing was written.</exception>
    public static void Backward(in SelfModifyingInputs inputs, SelfModifyingSettings settings, Tensor chunkStates,
        in SelfModifyingOutputGradients upstream, in SelfModifyingGradients gradients)
    {
        using Held held = Held.Begin();
        OperationCall call = SelfModifyingTensors.Validate(inputs, settings, held.Uses);
        SelfModifyingTensors.Saved.Validate(chunkStates, ref call);
        SelfModifyingTensors.Outputs.Gradients.Validate(upstream, ref call);
        SelfModifyingTensors.Inputs.ValidateGradients(inputs, gradients, ref call);
        Held.Publish();
        inputs.X.Device.Backend.SelfModifyingBackward(inputs, settings, chunkStates, upstream, gradients);
    }

    /// <summary>The shape of the memories: [B, H, D, 3D + 2].</summary>
    public static Shape StateShape(in SelfModifyingInputs inputs) =>
        [inputs.Batch, inputs.Heads, inputs.Dim, SelfModifyingSettings.StateColumns(inputs.Dim)];

    /// <summary>The shape of the states saved for a backward pass: [B, H, chunks, D, 3D + 2].</summary>
    public static Shape SavedShape(in SelfModifyingInputs inputs, SelfModifyingSettings settings) =>
        [inputs.Batch, inputs.Heads, settings.Chunks(inputs.Time), inputs.Dim, SelfModifyingSettings.StateColumns(inputs.Dim)];
}
