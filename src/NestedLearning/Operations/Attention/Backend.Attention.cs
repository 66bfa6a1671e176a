namespace NestedLearning;

public abstract partial class Backend
{
    /// <summary>Causal softmax attention. See <see cref="AttentionInputs"/> for the equations and shapes.</summary>
    public abstract void AttentionForward(in AttentionInputs inputs, AttentionSettings settings, in AttentionOutputs outputs);

    /// <summary>
    /// Its gradient, from the outputs and logarithms of sums that <see cref="AttentionForward"/> wrote; the scores are
    /// computed again.
    /// </summary>
    public abstract void AttentionBackward(in AttentionInputs inputs, AttentionSettings settings, in AttentionOutputs outputs,
        Tensor dOutput, in AttentionGradients gradients);
}
