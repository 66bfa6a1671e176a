namespace NestedLearning.Models;

/// <summary>
/// Attention with its key–value cache: over the whole context, or over a token's segment and the one before it. Segments are
/// counted from the start of the context, so that the split of a stream into calls does not matter.
/// </summary>
internal sealed class SegmentedAttention(SoftmaxAttention attention, int segment)
{
    private const string Keys = "keys", Values = "values";

    /// <summary>What a mixer with such an attention carries.</summary>
    public IEnumerable<StatePart> State
    {
        get
        {
            Shape? Cached(int batch, long tokens) => tokens > 0 ? attention.Shape(batch, checked((int)CachedTokens(tokens))) : null;
            return [new(Keys, Cached), new(Values, Cached)];
        }
    }

    public StateDescription Describe() => new(
        "key–value cache", [Keys, Values],
        segment == 0 ? "keys and values of the whole context" : $"keys and values of a segment of {segment} tokens and of the one before",
        "keys and values of tokens", SoftmaxAttention.Rule);

    /// <summary>Reads [B, T, H, D/H] of x [B, T, D], and what the cache is then.</summary>
    public (Variable Reads, IEnumerable<(string, Tensor)> Next) Forward(Tape tape, Variable x, MixerState state)
    {
        KeyValues? cache = state[Keys] is { } keys ? new KeyValues(tape.Input(keys), tape.Input(state[Values]!)) : null;
        var reads = new List<Variable>();
        foreach ((int first, int count) in Segments.Pieces(state.Tokens, x.Shape[1], segment))
        {
            long position = state.Tokens + first;
            if (segment > 0 && position % segment == 0 && cache?.Count > segment)
                cache = cache.Last(tape, segment);
            (Variable read, cache) = attention.Forward(tape, tape.Tokens(x, first, count), cache, position);
            reads.Add(read);
        }

        return (tape.Concatenate([.. reads]), [(Keys, cache!.Keys.Value), (Values, cache.Values.Value)]);
    }

    // All tokens so far, or those of the last token's segment and the one before.
    private long CachedTokens(long tokens) =>
        segment == 0 || tokens <= segment ? tokens : segment + (tokens - 1) % segment + 1;
}
