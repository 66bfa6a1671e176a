namespace NestedLearning.Operations;

/// <summary>
/// Causal softmax attention (Vaswani et al. 2017), in blocks with a running maximum and sum: memory grows with T, never with
/// T². See <see cref="AttentionInputs"/> for the equations and shapes.
/// </summary>
public static class Attention
{
    /// <summary>Runs the attention over whole sequences.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit. Nothing was written.</exception>
    public static void Forward(in AttentionInputs inputs, AttentionSettings settings, in AttentionOutputs outputs)
    {
        using Held held = Held.Begin();
        OperationCall call = AttentionTensors.Validate(inputs, settings, held.Uses);
        AttentionTensors.Outputs.Validate(outputs, ref call);
        if (outputs.LogSums is not null)
            AttentionTensors.Saved.Validate(outputs, ref call);
        Held.Publish();
        inputs.Q.Device.Backend.AttentionForward(inputs, settings, outputs);
    }

    /// <summary>The gradient of <see cref="Forward"/> to every input that is asked for, from dOutput = dL/do [B, T, H, Dv].</summary>
    /// <param name="inputs">As given to the forward pass.</param>
    /// <param name="settings">As given to the forward pass.</param>
    /// <param name="outputs">As written by the forward pass, with <see cref="AttentionOutputs.LogSums"/>.</param>
    /// <param name="dOutput">dL/do.</param>
    /// <param name="gradients">Where the results go.</param>
    /// <exception cref="ArgumentException">A shape or device does not fit, or the logarithms of sums are missing. Nothing was
    /// written.</exception>
    public static void Backward(in AttentionInputs inputs, AttentionSettings settings, in AttentionOutputs outputs, Tensor dOutput,
        in AttentionGradients gradients)
    {
        using Held held = Held.Begin();
        OperationCall call = AttentionTensors.Validate(inputs, settings, held.Uses);
        AttentionTensors.Outputs.Validate(outputs, ref call);
        AttentionTensors.Saved.Validate(outputs, ref call);
        AttentionTensors.Outputs.Gradients.Validate(dOutput, ref call);
        AttentionTensors.Inputs.ValidateGradients(inputs, gradients, ref call);
        Held.Publish();
        inputs.Q.Device.Backend.AttentionBackward(inputs, settings, outputs, dOutput, gradients);
    }
}
