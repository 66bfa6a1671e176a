namespace NestedLearning.Operations;

/// <summary>
/// Roughly how many scalar operations an attention's forward pass takes; the backward pass takes two and a half times that.
/// </summary>
internal static class AttentionCost
{
    /// <summary>For each query and key it sees: a score and a value.</summary>
    public static long Operations(in AttentionInputs inputs)
    {
        long time = inputs.Time;
        long pairs = time * (inputs.Keys - time) + time * (time + 1) / 2;
        return inputs.Batch * inputs.Heads * pairs * 2 * (inputs.KeyDim + inputs.ValueDim);
    }
}
