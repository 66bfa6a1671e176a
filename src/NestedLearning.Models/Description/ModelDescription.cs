using System.Globalization;
using System.Text;

namespace NestedLearning.Models;

/// <summary>A model as its nest of levels: every memory it has on one axis, from the fastest to the slowest.</summary>
/// <param name="Mixer">What mixes its tokens.</param>
/// <param name="Parameters">The numbers that levels learn.</param>
/// <param name="Batch">The sequences whose fast memories are counted.</param>
/// <param name="Context">The tokens of a context after which fast memories are counted.</param>
/// <param name="ContextLength">Tokens after which fast memories return to their start; 0 is never.</param>
/// <param name="Memories">The memories, by rising <see cref="MemoryDescription.Period"/>.</param>
public sealed record ModelDescription(TokenMixer Mixer, long Parameters, int Batch, long Context, int ContextLength,
    IReadOnlyList<MemoryDescription> Memories)
{
    /// <summary>The bytes of all memories together.</summary>
    public long Bytes => Memories.Sum(m => m.Bytes);

    /// <summary>One paragraph a memory, the fastest first.</summary>
    public override string ToString()
    {
        var text = new StringBuilder();
        IFormatProvider invariant = CultureInfo.InvariantCulture;
        text.Append(invariant, $"{Mixer}: {Parameters:N0} parameters, {Bytes:N0} bytes ");
        text.Append(invariant, $"for {Batch} sequences {Context} tokens into a context").AppendLine();
        foreach (MemoryDescription m in Memories)
        {
            text.Append(invariant, $"every {m.Period}: {m.Name}, {m.Memory}; {m.Parameters:N0} parameters, {m.Bytes:N0} bytes")
                .AppendLine();
            text.Append(invariant, $"    reads {m.ContextFlow}; {m.Rule}").AppendLine();
        }

        return text.ToString();
    }
}
