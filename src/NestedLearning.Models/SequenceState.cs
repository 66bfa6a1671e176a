namespace NestedLearning.Models;

/// <summary>
/// The fast memory of a batch of streams: what a Hope model has written into itself since the context began. One for
/// each stream, never hidden in the model.
/// </summary>
public sealed class SequenceState : IDisposable
{
    internal SequenceState(int batch, SelfModifyingState[] blocks)
    {
        Batch = batch;
        Blocks = blocks;
    }

    /// <summary>B.</summary>
    public int Batch { get; }

    /// <summary>Tokens since the fast memories were at their learned start.</summary>
    public int ContextPosition { get; internal set; }

    internal SelfModifyingState[] Blocks { get; }

    /// <summary>An independent copy.</summary>
    public SequenceState Clone() => new(Batch, Array.ConvertAll(Blocks, b => b.Clone())) { ContextPosition = ContextPosition };

    /// <summary>Back to the state of a new stream.</summary>
    public void Reset()
    {
        ReturnToStart();
        foreach (SelfModifyingState block in Blocks)
            block.Convolution.Fill(0);
    }

    /// <summary>Writes the fast memory, every name starting with the prefix.</summary>
    public void Save(SafetensorsFile file, string prefix)
    {
        ArgumentNullException.ThrowIfNull(file);
        file.Add(prefix + "context", [ContextPosition]);
        for (int b = 0; b < Blocks.Length; b++)
        {
            file.Add($"{prefix}{b}.convolution", Blocks[b].Convolution);
            if (Blocks[b].Memory is { } memory)
                file.Add($"{prefix}{b}.memory", memory);
        }
    }

    /// <summary>A state of a model as <see cref="Save"/> wrote it.</summary>
    /// <exception cref="CheckpointException">Something is missing or does not fit the model.</exception>
    public static SequenceState Load(SequenceModel model, int batch, SafetensorsFile file, string prefix)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentNullException.ThrowIfNull(file);
        long context = file.Integers(prefix + "context", 1)[0];
        int length = model.Configuration.ContextLength;
        if (context < 0 || context > int.MaxValue || (length > 0 && context >= length))
            throw new CheckpointException($"'{prefix}context' is {context}, expected 0 to {(length > 0 ? length - 1 : int.MaxValue)}.");
        SequenceState state = model.NewState(batch);
        try
        {
            for (int b = 0; b < state.Blocks.Length; b++)
            {
                SelfModifyingState block = state.Blocks[b];
                block.Convolution.CopyFrom(file.Floats($"{prefix}{b}.convolution", block.Convolution.Shape));
                if (context > 0)
                    block.Memory = model.Device.From(model.MemoryShape(batch), file.Floats($"{prefix}{b}.memory", model.MemoryShape(batch)));
            }

            state.ContextPosition = (int)context;
            return state;
        }
        catch
        {
            state.Dispose();
            throw;
        }
    }

    /// <summary>Frees the memory.</summary>
    public void Dispose()
    {
        foreach (SelfModifyingState block in Blocks)
            block.Dispose();
    }

    internal void ReturnToStart()
    {
        ContextPosition = 0;
        foreach (SelfModifyingState block in Blocks)
        {
            block.Memory?.Dispose();
            block.Memory = null;
        }
    }
}
