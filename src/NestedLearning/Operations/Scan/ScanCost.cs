namespace NestedLearning.Operations;

/// <summary>Roughly how many scalar operations the scans' forward passes take; the backward passes take three times that.</summary>
internal static class ScanCost
{
    /// <summary>Per token: a read, an erase and a write of S, and the same inside the chunk.</summary>
    public static long Operations(in ScanInputs inputs, ScanSettings settings)
    {
        long tokens = (long)inputs.Batch * inputs.Time * inputs.Heads;
        return tokens * 2 * (3L * inputs.KeyDim * inputs.ValueDim + (long)Math.Min(settings.Chunk, inputs.Time)
            * (inputs.KeyDim + inputs.ValueDim));
    }

    /// <summary>Per token: the projections, the writes and the update over all columns, the read, and the chunk's inside.</summary>
    public static long Operations(in SelfModifyingInputs inputs, SelfModifyingSettings settings)
    {
        long tokens = (long)inputs.Batch * inputs.Time * inputs.Heads;
        return tokens * 2 * (9L * inputs.Dim * inputs.Dim + 3L * Math.Min(settings.Chunk, inputs.Time) * inputs.Dim);
    }

    /// <summary>Per token and layer: the gradient, an erase, a write and a read, and the same inside the chunk.</summary>
    public static long Operations(in DeepMemoryInputs inputs, DeepMemorySettings settings)
    {
        long tokens = (long)inputs.Batch * inputs.Time * inputs.Heads;
        return tokens * 2 * (9L * inputs.Dim * inputs.Hidden + 2L * Math.Min(settings.Chunk, inputs.Time) * (inputs.Dim + inputs.Hidden));
    }
}
