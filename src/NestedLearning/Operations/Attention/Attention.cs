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
        Validate(inputs, settings, outputs);
        inputs.Q.Device.Backend.AttentionForward(inputs, settings, outputs);
    }

    /// <summary>The gradient of <see cref="Forward"/> to every input that is asked for, from dOutput = dL/do [B, T, H, Dv].</summary>
    /// <param name="inputs">As given to the forward pass.</param>
    /// <param name="settings">As given to the forward pass.</param>
    /// <param name="outputs">As written by the forward pass, with <see cref="AttentionOutputs.LogSums"/>.</param>
    /// <param name="dOutput">dL/do.</param>
    /// <param name="gradients">Where the results go.</param>
    /// <exception cref="ArgumentException">A shape or device does not fit, or the logarithms of sums are missing. Nothing was written.</exception>
    public static void Backward(in AttentionInputs inputs, AttentionSettings settings, in AttentionOutputs outputs, Tensor dOutput, in AttentionGradients gradients)
    {
        ArgumentNullException.ThrowIfNull(dOutput);
        Validate(inputs, settings, outputs);
        if (outputs.LogSums is null)
            throw new ArgumentException("log sums is missing, expected what the forward pass wrote.", nameof(outputs));
        Device device = inputs.Q.Device;
        Require.SameShape(dOutput, outputs.O.Shape, "do");
        Require.Like(gradients.Q, inputs.Q, "dq");
        Require.Like(gradients.K, inputs.K, "dk");
        Require.Like(gradients.V, inputs.V, "dv");
        Require.OnDevice(device, (dOutput, "do"), (gradients.Q, "dq"), (gradients.K, "dk"), (gradients.V, "dv"));
        device.Backend.AttentionBackward(inputs, settings, outputs, dOutput, gradients);
    }

    private static void Validate(in AttentionInputs inputs, AttentionSettings settings, in AttentionOutputs outputs)
    {
        Require.Finite(settings.Scale, "scale");
        Tensor q = inputs.Q;
        Require.Rank(q, 4, "[B, T, H, Dk]", "q");
        Require.Rank(inputs.K, 4, "[B, S, H, Dk]", "k");
        Require.Rank(inputs.V, 4, "[B, S, H, Dv]", "v");
        Require.SameShape(inputs.K, [inputs.Batch, inputs.Keys, inputs.Heads, inputs.KeyDim], "k");
        Require.SameShape(inputs.V, inputs.K.Shape.WithLast(inputs.ValueDim), "v");
        Require.Positive(inputs.KeyDim, "Dk");
        Require.Positive(inputs.ValueDim, "Dv");
        if (inputs.Keys < inputs.Time)
            throw new ArgumentException($"k has {inputs.Keys} tokens, expected at least q's {inputs.Time}.", nameof(inputs));
        Require.SameShape(outputs.O, q.Shape.WithLast(inputs.ValueDim), "o");
        Require.OptionalShape(outputs.LogSums, [inputs.Batch, inputs.Time, inputs.Heads], "log sums");
        Require.OnDevice(q.Device, (inputs.K, "k"), (inputs.V, "v"), (outputs.O, "o"), (outputs.LogSums, "log sums"));
    }
}
