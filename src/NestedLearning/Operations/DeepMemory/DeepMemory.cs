namespace NestedLearning.Operations;

/// <summary>
/// A two-layer memory that learns its keys' targets while it reads (docs/specification.md, section 2, NL 89, 91; Titans 3.2 with one hidden
/// layer). See <see cref="DeepMemoryInputs"/> for the equations and shapes.
/// </summary>
public static class DeepMemory
{
    /// <summary>
    /// Runs the memory over whole sequences. A sequence may begin and end inside a chunk: cut anywhere, with the final state
    /// and <see cref="DeepMemorySettings.NextPhase"/> carried over, it gives the same results, to rounding.
    /// </summary>
    /// <exception cref="ArgumentException">A shape or device does not fit, or a tensor is given or missing against its documentation.
    /// Nothing was written.</exception>
    public static void Forward(in DeepMemoryInputs inputs, DeepMemorySettings settings, in DeepMemoryOutputs outputs)
    {
        using Held held = Held.Begin();
        OperationCall call = DeepMemoryTensors.Validate(inputs, settings, held.Uses);
        DeepMemoryTensors.Outputs.Validate(outputs, ref call);
        if (outputs.Saved != default)
            DeepMemoryTensors.Saved.Validate(outputs.Saved, ref call);
        Held.Publish();
        Require.Decays(inputs.LogAlpha);
        inputs.Q.Device.Backend.DeepMemoryForward(inputs, settings, outputs);
    }

    /// <summary>The gradient of <see cref="Forward"/> to every input that is asked for, through every write.</summary>
    /// <exception cref="ArgumentException">A shape or device does not fit, or a tensor is given or missing against its documentation.
    /// Nothing was written.</exception>
    public static void Backward(in DeepMemoryInputs inputs, DeepMemorySettings settings, in DeepMemorySaved saved,
        in DeepMemoryOutputGradients upstream, in DeepMemoryGradients gradients)
    {
        using Held held = Held.Begin();
        OperationCall call = DeepMemoryTensors.Validate(inputs, settings, held.Uses);
        DeepMemoryTensors.Saved.Validate(saved, ref call);
        DeepMemoryTensors.Outputs.Gradients.Validate(upstream, ref call);
        DeepMemoryTensors.Inputs.ValidateGradients(inputs, gradients, ref call);
        Held.Publish();
        Require.Decays(inputs.LogAlpha);
        inputs.Q.Device.Backend.DeepMemoryBackward(inputs, settings, saved, upstream, gradients);
    }

    /// <summary>The shape of W1 and its momentum: [B, H, N, D].</summary>
    public static Shape Shape1(in DeepMemoryInputs inputs) => [inputs.Batch, inputs.Heads, inputs.Hidden, inputs.Dim];

    /// <summary>The shape of W2 and its momentum: [B, H, D, N].</summary>
    public static Shape Shape2(in DeepMemoryInputs inputs) => [inputs.Batch, inputs.Heads, inputs.Dim, inputs.Hidden];

    /// <summary>The shape of W1 and its momentum saved for a backward pass: [B, H, chunks, N, D].</summary>
    public static Shape SavedShape1(in DeepMemoryInputs inputs, DeepMemorySettings settings) =>
        [inputs.Batch, inputs.Heads, settings.Chunks(inputs.Time), inputs.Hidden, inputs.Dim];

    /// <summary>The shape of W2 and its momentum saved for a backward pass: [B, H, chunks, D, N].</summary>
    public static Shape SavedShape2(in DeepMemoryInputs inputs, DeepMemorySettings settings) =>
        [inputs.Batch, inputs.Heads, settings.Chunks(inputs.Time), inputs.Dim, inputs.Hidden];
}
