namespace NestedLearning.Operations;

/// <summary>
/// The primitive under every token-level memory (docs/specification.md, section 1): linear attention, delta rules, Titans, DGD are
/// choices of α, μ, ε and u. See <see cref="ScanInputs"/> for the equations and shapes.
/// </summary>
public static class Scan
{
    /// <summary>
    /// Runs the scan over whole sequences. One token (T = 1) whose states are not saved goes through the memory once, and
    /// with S and P in place of S0 and P0 nothing is copied or allocated: how a stream is decoded.
    /// </summary>
    /// <exception cref="ArgumentException">A shape or device does not fit, or an input is given or missing against its documentation.
    /// Nothing was written.</exception>
    public static void Forward(in ScanInputs inputs, ScanSettings settings, in ScanOutputs outputs)
    {
        using Held held = Held.Begin();
        OperationCall call = ScanTensors.Validate(inputs, settings, held.Uses);
        ScanTensors.Outputs.Validate(outputs, ref call);
        if (outputs.Saved != default)
            ScanTensors.Saved.Validate(outputs.Saved, ref call);
        Held.Publish();
        Require.Decays(inputs.LogAlpha);
        inputs.Q.Device.Backend.ScanForward(inputs, settings, outputs);
    }

    /// <summary>The gradient of <see cref="Forward"/> to every input that is asked for.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit, or a tensor is given or missing against its documentation.
    /// Nothing was written.</exception>
    public static void Backward(in ScanInputs inputs, ScanSettings settings, in ScanSaved saved, in ScanOutputGradients upstream,
        in ScanGradients gradients)
    {
        using Held held = Held.Begin();
        OperationCall call = ScanTensors.Validate(inputs, settings, held.Uses);
        ScanTensors.Saved.Validate(saved, ref call);
        ScanTensors.Outputs.Gradients.Validate(upstream, ref call);
        ScanTensors.Inputs.ValidateGradients(inputs, gradients, ref call);
        Held.Publish();
        Require.Decays(inputs.LogAlpha);
        inputs.Q.Device.Backend.ScanBackward(inputs, settings, saved, upstream, gradients);
    }

    /// <summary>The shape of S and P: [B, H, Dk, Dv].</summary>
    public static Shape StateShape(in ScanInputs inputs) => [inputs.Batch, inputs.Heads, inputs.KeyDim, inputs.ValueDim];

    /// <summary>The shape of the states saved for a backward pass: [B, H, chunks, Dk, Dv].</summary>
    public static Shape SavedShape(in ScanInputs inputs, ScanSettings settings) =>
        [inputs.Batch, inputs.Heads, settings.Chunks(inputs.Time), inputs.KeyDim, inputs.ValueDim];
}
